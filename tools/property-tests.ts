/**
 * Sets up fast-check for the suite. The gate must say the same of the same commit, so the seed is fixed; `npm run fuzz`
 * looks for new counterexamples instead, with a fresh seed and more runs, and prints the seed of what it finds.
 */
import fc from "fast-check";

const seed = process.env["MILLRACE_FUZZ_SEED"];
const runs = process.env["MILLRACE_FUZZ_RUNS"];
fc.configureGlobal({
  seed: seed === "random" ? Math.floor(Math.random() * 2 ** 31) : Number(seed ?? 20_240_701),
  ...(runs === undefined ? {} : { numRuns: Number(runs) }),
});
