import { defineConfig } from "vitest/config";

export default defineConfig({
  resolve: { conditions: ["millrace:source"] },
  ssr: { resolve: { conditions: ["millrace:source"] } },
  test: {
    include: ["packages/*/src/**/*.test.ts", "tests/**/*.test.ts"],
    reporters: ["default", "./tools/tally-reporter.ts"],
    setupFiles: ["./tools/property-tests.ts"],
    testTimeout: process.env["MILLRACE_FUZZ_SEED"] === undefined ? 30_000 : 600_000,
    pool: "forks",
  },
});
