/** Records as the lines of a stall raster. */
import type { Raster } from "@millrace/report";
import type { RequestRecord, Targets } from "../contracts.ts";
import { recordTargetUs } from "../metrics/targets.ts";

/** One line per request in order of its schedule; choices of one request share its line. */
export function stallRaster(records: readonly RequestRecord[], targets: Targets): Raster {
  const rows = [...records]
    .sort((a, b) => a.scheduledUs - b.scheduledUs)
    .map((record) => {
      const { scheduledUs, chunks, status, id } = record;
      return {
        name: `request ${id}${record.error === null ? "" : ` (${record.error.class})`}`,
        startUs: scheduledUs,
        chunkUs: chunks.timeUs.map((at) => at - scheduledUs),
        tokens: chunks.tokens,
        ttftUs:
          status === "ok" || targets.ttft.type === "constant"
            ? recordTargetUs(targets.ttft, record)
            : targets.ttft.slackUs,
        failed: status !== "ok",
      };
    });
  return { rows, tbtUs: targets.tbtUs };
}
