/** `millrace plan`: the cheapest deployment that carries a load within an SLO. */
import { join } from "node:path";
import { type Executor, formatDollars, MillraceError } from "@millrace/core";
import { ForkPool } from "@millrace/core/node";
import type { PlanResult } from "@millrace/sim";
import {
  type PlanProgress,
  plan,
  type SearchJob,
  type SearchOutcome,
  searchWorker,
} from "@millrace/sim/search";
import { commandLine } from "../command-line.ts";
import { readQuestion } from "../planning/question.ts";
import { loadQueue } from "../planning/queue.ts";
import { writePlan } from "../planning/results.ts";
import type { Session } from "../session.ts";
import { formatWhole } from "../ui/numbers.ts";
import { planLines } from "../ui/plan.ts";

interface PlanFlags {
  readonly config?: string;
  readonly set?: readonly string[];
  readonly out?: string;
  readonly workers?: number;
  readonly queue?: string;
}

export async function planCommand(
  session: Session,
  given: Readonly<Record<string, unknown>>,
): Promise<number> {
  const flags = given as PlanFlags;
  const { spec, inputs, configText } = readQuestion(flags.config, flags.set ?? []);
  const progress = session.progress();
  const result = await session.interruptible(async (signal) => {
    await using executor = await executorOf(flags);
    session.detail(`${executor.workers} workers`);
    // Awaited here: leaving the block closes the executor.
    return await plan(spec, {
      executor,
      inputs,
      signal,
      onProgress: (state) => progress.update(progressText(state)),
      ...(flags.out === undefined ? {} : { cacheDir: join(flags.out, "runs") }),
    }).catch((error: unknown) => {
      throw interrupted(error, flags.out);
    });
  });
  progress.end();
  const provenance = { command: commandLine(), configText };
  const written = flags.out === undefined ? [] : await writePlan(flags.out, result, provenance);
  if (session.json) session.printJson(result);
  else {
    session.print(planLines(result, session));
    session.note(
      written.length > 0
        ? `\nwrote ${written.join(", ")}`
        : "\n--out DIR keeps an HTML report, and the finished runs for another go",
    );
  }
  throwIfNothingFits(result);
  return 0;
}

async function executorOf(flags: PlanFlags): Promise<Executor<SearchJob, SearchOutcome>> {
  if (flags.queue === undefined)
    return new ForkPool<SearchJob, SearchOutcome>({
      module: searchWorker,
      ...(flags.workers === undefined ? {} : { workers: flags.workers }),
    });
  const { connectQueue } = await loadQueue();
  return connectQueue<SearchJob, SearchOutcome>(flags.queue);
}

const phases = {
  screening: "screening",
  confirming: "confirming the best",
  varying: "what would change it",
} as const satisfies Record<PlanProgress["phase"], string>;

function progressText({ phase, done, total, best, simulations }: PlanProgress) {
  return {
    phase: phases[phase],
    done,
    total,
    ...(simulations === 0 ? {} : { note: `${formatWhole(simulations)} simulations` }),
    ...(best === null ? {} : { best: `${best.name} ${formatDollars(best.dollarsPerHour)}/h` }),
  };
}

/** An interruption says what was kept. */
function interrupted(error: unknown, out: string | undefined): unknown {
  if (!(error instanceof MillraceError) || error.code !== "INTERRUPTED") return error;
  return new MillraceError("INTERRUPTED", "stopped before the plan was complete", {
    hint:
      out === undefined
        ? "nothing was kept; with --out DIR finished runs are kept and the same command goes on from them"
        : `finished runs are kept in ${join(out, "runs")}; the same command goes on from them`,
    cause: error,
  });
}

/** The answer is printed already; that it is no answer is the failure. */
function throwIfNothingFits({ best, nearestMiss }: PlanResult): void {
  if (best !== null) return;
  const near = nearestMiss === null ? "" : `; nearest miss: ${nearestMiss.reason}`;
  throw new MillraceError("NOTHING_FITS", `no deployment of the space keeps the SLO${near}`, {
    hint: "relax the term that failed, or widen space: more devices, tensorParallel, other schedulers",
  });
}
