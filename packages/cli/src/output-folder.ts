/** The folder that a command writes into, made before its work begins. */
import { MillraceError } from "@millrace/core";
import { makeFolder, systemReason } from "@millrace/core/node";

/** Makes the folder of --out. Throws OUTPUT_UNWRITABLE with what the system refused. */
export function makeOutputFolder(out: string): void {
  try {
    makeFolder(out);
  } catch (cause) {
    throw new MillraceError("OUTPUT_UNWRITABLE", `--out ${out}: ${systemReason(cause)}`, {
      hint: "name another folder, or allow writing there",
      cause,
    });
  }
}
