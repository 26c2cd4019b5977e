/**
 * Writes the tables of docs/papers from fresh runs of `millrace reproduce`, so that no figure there is typed by hand:
 * everything between `<!-- figures NAME -->` and `<!-- /figures -->` is replaced. Names as arguments; all by default. NAME=FILE takes
 * the rows from a result.json that `reproduce --out` wrote; a name with an @ (a data set that is not shipped) is only written so.
 */
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

interface Row {
  readonly claim: string;
  readonly theirs: number | null;
  readonly ours: number;
  readonly low: number;
  readonly high: number;
  readonly unit: string;
  readonly n: number;
  readonly note: string;
}

const root = join(fileURLToPath(import.meta.url), "../..");
const folder = join(root, "docs/papers");
const wanted = new Map(
  process.argv.slice(2).map((given) => {
    const [name = "", file] = given.split("=");
    return [name, file];
  }),
);

function number(x: number): string {
  if (!Number.isFinite(x)) return "-";
  return Math.abs(x) >= 1000
    ? Math.round(x).toLocaleString("en-US")
    : String(Number(x.toPrecision(3)));
}

function resultOf(name: string): string {
  const file = wanted.get(name);
  if (file !== undefined) return readFileSync(file, "utf8");
  const cli = join(root, "packages/cli/bin/millrace.js");
  const run = spawnSync(process.execPath, [cli, "reproduce", name, "--json"], {
    encoding: "utf8",
    maxBuffer: 1 << 26,
  });
  if (run.status !== 0)
    throw new Error(`millrace reproduce ${name} ended with ${run.status}: ${run.stderr}`);
  return run.stdout;
}

function table(name: string): string {
  const { rows } = JSON.parse(resultOf(name)) as { rows: Row[] };
  const lines = rows.map((r) => {
    const spread = r.low === r.high ? "" : ` (${number(r.low)} … ${number(r.high)})`;
    return `| ${r.claim} | ${r.theirs === null ? "" : number(r.theirs)} | ${number(r.ours)}${spread} | ${r.unit} | ${number(r.n)} | ${r.note} |`;
  });
  return [
    "| claim | theirs | ours (lowest … highest seed) | unit | n a run | setting |",
    "|---|---|---|---|---|---|",
    ...lines,
  ].join("\n");
}

for (const file of readdirSync(folder).filter((f) => f.endsWith(".md"))) {
  const path = join(folder, file);
  const text = readFileSync(path, "utf8");
  const next = text.replace(
    /<!-- figures (\S+) -->[\s\S]*?<!-- \/figures -->/g,
    (whole, name: string) => {
      const named = name.includes("@") ? wanted.get(name) !== undefined : wanted.has(name);
      if (!named && (wanted.size > 0 || name.includes("@"))) return whole;
      console.error(`${file}: millrace reproduce ${name}`);
      return `<!-- figures ${name} -->\n${table(name)}\n<!-- /figures -->`;
    },
  );
  if (next !== text) writeFileSync(path, next);
}
