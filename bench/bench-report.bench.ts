/** The HTML report of a run of a million tokens: time to write it, and its size. 2,000 requests of random gaps and stalls. */
import { Rng } from "@millrace/core";
import { renderReport } from "@millrace/report";
import { record, runOf, targets } from "../packages/bench/src/metrics/record.conformance.ts";
import { summarizeRun } from "../packages/bench/src/metrics/summary.ts";
import { runReport } from "../packages/bench/src/report/index.ts";
import { cpuMs, report } from "./harness.ts";

const rng = new Rng(11);
const records = Array.from({ length: 2000 }, (_, i) => {
  let at = 50 + 400 * rng.next();
  const times = Array.from({ length: 500 }, () => {
    at += rng.next() < 0.01 ? 300 * rng.next() : 5 + 20 * rng.next();
    return at;
  });
  return record(i, times, { scheduledUs: i * 50_000 });
});
const run = runOf(records);
let html = "";
let summary = summarizeRun(run, { targets });
const summing = cpuMs(() => {
  summary = summarizeRun(run, { targets });
});
const writing = cpuMs(() => {
  html = renderReport(runReport({ run, report: summary }));
});
report("summing up a million tokens, CPU", summing / 1e3, "s");
report("HTML report of a million tokens, CPU", writing / 1e3, "s", 2);
report("HTML report of a million tokens, size", html.length / 1e6, "MB", 15);
