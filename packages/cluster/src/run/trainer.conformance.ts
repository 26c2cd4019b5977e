/**
 * A training program under a lease, as a process for tests: steps of 10 ms, a checkpoint every so many, one more when it is
 * asked to stop; it goes on from the last one. Arguments: file of the step that was saved, steps, steps between checkpoints.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { openLease } from "@millrace/core/node";

const [file = "", steps = "0", every = "1"] = process.argv.slice(2);
await using lease = await openLease({ reportSeconds: 0.05, retrySeconds: 0.05 });
const asked = (): boolean => lease?.stop.aborted === true;
let step = existsSync(file) ? Number(readFileSync(file, "utf8")) : 0;
while (step < Number(steps) && !asked()) {
  await sleep(10);
  lease?.report(++step, 0.01, 0, 1);
  if (step % Number(every) !== 0 && !asked()) continue;
  writeFileSync(file, String(step));
  await lease?.checkpointed(step, file);
}
