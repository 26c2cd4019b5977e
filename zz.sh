cd /tmp/exec-wt
NODE="npx tsx --conditions=millrace:source packages/cli/bin/millrace.ts"
ls packages/cli/bin
