/** `millrace bench capacity`: the highest rate at which a live endpoint keeps an SLO. */
import { join } from "node:path";
import {
  arrivalSeconds,
  type BenchRun,
  type CapacityEstimate,
  type CapacityReport,
  searchLiveCapacity,
} from "@millrace/bench";
import { formatNumber, MillraceError } from "@millrace/core";
import { writeFileAtomic } from "@millrace/core/node";
import { commandLine } from "../../command-line.ts";
import { makeOutputFolder } from "../../output-folder.ts";
import { version } from "../../program/version.ts";
import type { Session } from "../../session.ts";
import { type CapacityFlags, capacityOptionsOf } from "./capacity-flags.ts";
import { capacityLines, probeLine } from "./capacity-lines.ts";
import { endpointOf } from "./endpoint-flags.ts";
import { openTokenizer } from "./tokenizer.ts";

export async function capacityCommand(
  session: Session,
  given: Readonly<Record<string, unknown>>,
): Promise<number> {
  const flags = given as CapacityFlags;
  const { goal, load, search, prediction } = capacityOptionsOf(given);
  const { out } = flags;
  if (out !== undefined) makeOutputFolder(out);
  const endpoint = await endpointOf(given, session.surroundings.environment);
  const { tokenizer, close } = await openTokenizer(flags.tokenizer);
  const live = new LiveProgress(session);
  const report = await session.interruptible(async (signal) => {
    try {
      return await searchLiveCapacity({
        ...{ endpoint, goal, load, search, prediction, tokenizer, signal },
        seed: flags.seed ?? 42,
        workers: flags.workers ?? 1,
        rawFile: (number) =>
          out === undefined ? null : join(out, `probe-${String(number).padStart(2, "0")}.jsonl`),
        onStart: (rateQps, number, estimate) => live.start(rateQps, number, estimate),
        onRun: (run) => live.run(run),
        onProbe: (probe) => {
          live.pause();
          session.note(probeLine(probe, session.paintNote));
        },
      });
    } finally {
      close();
      live.end();
    }
  });
  if (session.json) session.printJson(report);
  else session.print(["", ...capacityLines(report, session)]);
  if (out !== undefined) {
    const file = join(out, "capacity.json");
    writeFileAtomic(file, `${JSON.stringify(report, null, 1)}\n`);
    const { renderReport } = await import("@millrace/report");
    const { capacityDocument } = await import("@millrace/bench/report");
    const context = { command: commandLine(), version };
    const page = join(out, "report.html");
    writeFileAtomic(page, renderReport(capacityDocument({ report, context })));
    session.note(`\nwrote ${file}, ${page} and the raw runs beside them`);
  }
  return exitFor(report, arrivalSeconds(load, report.capacity.valueQps));
}

/** The progress line of the probe in progress. */
class LiveProgress {
  private readonly progress: ReturnType<Session["progress"]>;
  private timer: NodeJS.Timeout | undefined;
  private phase = "";
  private best = "";

  constructor(session: Session) {
    this.progress = session.progress();
  }

  start(rateQps: number, number: number, { lowQps, highQps, probes }: CapacityEstimate): void {
    this.phase = `probe ${number} at ${formatNumber(rateQps)}/s`;
    this.best = probes === 0 ? "" : `${formatNumber(lowQps)} to ${formatNumber(highQps)}/s`;
  }

  run(run: BenchRun): void {
    this.pause();
    this.timer = setInterval(() => {
      const { scheduled, ok, failed, inFlight, seconds } = run.counters();
      this.progress.update({
        phase: this.phase,
        done: ok + failed,
        total: Number.isFinite(scheduled) ? scheduled : 0,
        note: `${seconds < 0 ? "warming up" : `${inFlight} in flight`}${failed > 0 ? `, ${failed} failed` : ""}`,
        ...(this.best === "" ? {} : { best: this.best }),
      });
    }, 200);
  }

  pause(): void {
    clearInterval(this.timer);
    this.progress.clear();
  }

  end(): void {
    this.pause();
    this.progress.end();
  }
}

/** The result is printed already; an end that is no answer is the failure that it is. */
function exitFor({ end, problem, capacity, slo }: CapacityReport, probeSeconds: number): number {
  switch (end) {
    case "settled":
    case "above-range":
      return 0;
    case "probes":
      return 0;
    case "below-range":
      throw new MillraceError("SLO_BREACHED", `no rate that was tried keeps ${slo.join(", ")}`, {
        hint: `relax the SLO, or try rates below ${formatNumber(capacity.lowestMissedQps ?? capacity.valueQps)}/s with --min-rate and a longer --probe-time (it was ${formatNumber(probeSeconds)} s)`,
      });
    case "client-limited":
      throw new MillraceError(
        "ENVIRONMENT_MISSING",
        `this client cannot offer enough load: ${problem ?? "its runs were invalid"}`,
        { hint: "take more --workers, a quieter machine, or one nearer to the endpoint" },
      );
    case "endpoint-lost":
      throw new MillraceError("ENVIRONMENT_MISSING", problem ?? "the endpoint was lost", {
        hint: "the probes before are kept; an endpoint that dies under load has its capacity below that",
      });
    case "stopped":
      throw new MillraceError("INTERRUPTED", "interrupted; the probes that had ended are kept");
  }
}
