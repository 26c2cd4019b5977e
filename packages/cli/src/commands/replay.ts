/**
 * `millrace simulate --replay`: an engine's decision log through the simulator's replica, step by step, and its timing log
 * against the predictor: what was decided must be equal, what was predicted may be judged.
 */
import { formatNumber, formatSeconds, MillraceError, quantileSorted } from "@millrace/core";
import { readTextFile } from "@millrace/core/node";
import {
  ProfileCost,
  parseDecisions,
  parseStepProfile,
  parseStepTimings,
  type ReplayReport,
  type ResidualGroup,
  replayDecisions,
  type StepCostModel,
  stepResiduals,
} from "@millrace/serving";
import type { Session } from "../session.ts";
import { facts, table } from "../ui/table.ts";

interface ReplayFlags {
  readonly replay: string;
  readonly timingLog?: string;
  readonly profile?: string;
}

/** How predictions of a profile compare with the measured steps. */
interface TimingError {
  readonly steps: number;
  readonly measuredSeconds: number;
  readonly predictedSeconds: number;
  /** Absolute errors of single steps, in percent. */
  readonly p50: number;
  readonly p90: number;
  /** Which steps are mispredicted: whole periods, serving loop included. */
  readonly residuals: readonly ResidualGroup[];
}

export async function replayCommand(session: Session, flags: ReplayFlags): Promise<number> {
  const cost =
    flags.profile === undefined
      ? null
      : new ProfileCost(parseStepProfile(readTextFile(flags.profile), flags.profile));
  const lines = parseDecisions(readTextFile(flags.replay), flags.replay);
  const report = replayed(flags.replay, () => replayDecisions(lines, cost ?? noCost));
  const timing = timingError(flags, cost);
  const exit = report.difference === null ? 0 : 3;
  if (session.json) {
    session.printJson({ schema: "millrace.replay/1", file: flags.replay, ...report, timing });
    return exit;
  }
  session.print(describe(session, report, timing));
  return exit;
}

/** A log whose lines contradict each other breaks what a replica holds on to: a matter of the file, not of the program. */
function replayed(file: string, replay: () => ReplayReport): ReplayReport {
  try {
    return replay();
  } catch (cause) {
    if (cause instanceof MillraceError) throw cause;
    throw new MillraceError(
      "TRACE_INVALID",
      `${file} contradicts itself: ${(cause as Error).message}`,
      {
        hint: "were lines lost or changed? give the log as millrace serve --decision-log wrote it",
        cause,
      },
    );
  }
}

/** Only chunking slo asks for costs; it needs the profile that the engine had. */
const noCost: StepCostModel = {
  stepSeconds: () => {
    throw new MillraceError("USAGE", "this log was planned with step costs", {
      hint: "add --profile FILE with the profile that the engine was given",
    });
  },
};

function timingError(flags: ReplayFlags, cost: ProfileCost | null): TimingError | null {
  if (flags.timingLog === undefined) return null;
  if (cost === null)
    throw new MillraceError("USAGE", "--timing-log needs a profile to be compared with", {
      hint: "add --profile FILE; millrace profile measures one",
    });
  const steps = parseStepTimings(readTextFile(flags.timingLog), flags.timingLog);
  if (steps.length === 0)
    throw new MillraceError("TRACE_INVALID", `${flags.timingLog} holds no step`);
  let measured = 0;
  let predicted = 0;
  const errors = Float64Array.from(steps, (step) => {
    const seconds = cost.computeSeconds(step);
    measured += step.computeSeconds;
    predicted += seconds;
    return 100 * Math.abs(seconds / step.computeSeconds - 1);
  }).sort();
  return {
    steps: steps.length,
    measuredSeconds: measured,
    predictedSeconds: predicted,
    p50: quantileSorted(errors, 0.5),
    p90: quantileSorted(errors, 0.9),
    residuals: stepResiduals(cost, steps),
  };
}

function describe(
  { paint }: Session,
  report: ReplayReport,
  timing: TimingError | null,
): readonly string[] {
  const { difference } = report;
  const verdict =
    difference === null
      ? `${paint("good", "✓")} all ${report.steps} steps are decided as the engine decided them`
      : `${paint("bad", "✗")} step ${difference.ticket} of ${report.schedulers[difference.segment] ?? "?"} differs: logged ${difference.logged ?? "nothing"}, replayed ${difference.replayed ?? "nothing"}`;
  return [
    verdict,
    ...facts(
      [
        ["model", report.model],
        ["schedulers", report.schedulers.join(", ")],
        ["requests", String(report.requests)],
        ...(timing === null
          ? []
          : ([
              [
                "step times",
                `${timing.steps} steps, ${formatSeconds(timing.measuredSeconds)} measured, ${formatSeconds(timing.predictedSeconds)} predicted (${formatNumber(100 * (timing.predictedSeconds / timing.measuredSeconds - 1))} %)`,
              ],
              [
                "error per step",
                `p50 ${formatNumber(timing.p50)} %, p90 ${formatNumber(timing.p90)} %`,
              ],
            ] as const)),
      ],
      { paint, indent: 2 },
    ),
    ...(timing === null ? [] : residualLines(timing.residuals, paint)),
  ];
}

/** Which steps are mispredicted, by what they computed. */
function residualLines(
  groups: readonly ResidualGroup[],
  paint: Session["paint"],
): readonly string[] {
  const percent = (x: number): string => `${formatNumber(100 * x)} %`;
  return [
    "",
    ...table(
      [
        { title: "steps", least: 12 },
        { title: "n", align: "right" },
        { title: "of the time", align: "right" },
        { title: "bias", align: "right" },
        { title: "p10 … p90 of single ones", align: "right" },
      ],
      groups
        .filter(({ by }) => by === "all" || by === "phase")
        .map((g) => [
          g.group,
          String(g.steps),
          percent(g.share),
          percent(g.bias),
          `${percent(g.p10)} … ${percent(g.p90)}`,
        ]),
      { paint, indent: 2 },
    ),
  ];
}
