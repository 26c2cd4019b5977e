/** Whether what a run is to write at its end can be written, found out before hours of training. */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { MillraceError } from "@millrace/core";
import { AtomicFileStream } from "@millrace/core/node";

/** What a run writes; each may be left out. */
export interface Outputs {
  readonly costs?: string | undefined;
  readonly save?: string | undefined;
  readonly export?: string | undefined;
  readonly checkpoint?: string | undefined;
}

/**
 * Makes the folders that outputs go into and a file of no bytes beside each, which is gone when this returns. Throws
 * OUTPUT_UNWRITABLE naming the first that cannot be written. A disk that fills later is told when it does.
 */
export function checkOutputs({ costs, save, export: exported, checkpoint }: Outputs): void {
  if (save !== undefined && existsSync(save) && readdirSync(save).length > 0)
    throw new MillraceError("OUTPUT_UNWRITABLE", `--save: ${save} is not empty`, {
      hint: "give a checkpoint a folder of its own",
    });
  const files = [costs, save, exported, checkpoint && join(checkpoint, "checkpoint")];
  for (const path of files) if (path !== undefined) new AtomicFileStream(path).discard();
}
