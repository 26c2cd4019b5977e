/** `millrace calibrate`: predict what serving a model on this machine will be like, serve it, and lay both side by side. */
import { join } from "node:path";
import { InvariantError } from "@millrace/core";
import { writeFileAtomic } from "@millrace/core/node";
import { calibrationLines } from "../calibration/lines.ts";
import { calibrateOptionsOf } from "../calibration/options.ts";
import { calibrate } from "../calibration/pipeline.ts";
import { commandLine } from "../command-line.ts";
import { makeOutputFolder } from "../output-folder.ts";
import { version } from "../program/version.ts";
import type { Session } from "../session.ts";

export async function calibrateCommand(
  session: Session,
  flags: Readonly<Record<string, unknown>>,
): Promise<number> {
  const options = calibrateOptionsOf(flags);
  makeOutputFolder(options.out);
  const result = await session.interruptible((signal) => calibrate({ session, options, signal }));
  writeFileAtomic(join(options.out, "result.json"), `${JSON.stringify(result, null, 1)}\n`);
  const [{ renderReport }, { calibrationReport }] = await Promise.all([
    import("@millrace/report"),
    import("../calibration/report.ts"),
  ]);
  const report = calibrationReport(result, { command: commandLine(), version });
  writeFileAtomic(join(options.out, "report.html"), renderReport(report));
  if (session.json) session.printJson(result);
  else session.print(calibrationLines(result, session));
  session.note(
    `\nwrote report.html, result.json, profile.json and the engine's logs in ${options.out}`,
  );
  if (!result.decisionsEqual)
    throw new InvariantError("the replayed scheduler decided otherwise than the engine");
  return 0;
}
