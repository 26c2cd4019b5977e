/** `millrace memory verify`: proofs that a plan keeps to its memory and changes no gradient. */
import { formatBytes, formatNumber } from "@millrace/core";
import { GraphTrainable, syntheticBatch } from "@millrace/remat";
import type { Session } from "../../session.ts";
import { checkOutputs } from "./outputs.ts";
import { prepare, refuseFile, type TrainingFlags } from "./prepare.ts";

/** Steps that are trained before the process's memory is looked at. */
const provedSteps = 4;
/** Without --rate: parameters move, and no network diverges, which would say nothing of memory or gradients. */
const provedRate = 1e-5;
/** Most that a process may grow beyond its plan. */
const slackBytes = 8 * 2 ** 20;
/** Most that a gradient may differ from that of keeping everything, and from central differences. */
const tolerance = { gradient: 1e-4, differences: 0.05 } as const;

interface Check {
  readonly name: string;
  readonly holds: boolean | null;
  readonly text: string;
}

export async function memoryVerifyCommand(
  session: Session,
  file: string | undefined,
  given: Readonly<Record<string, unknown>>,
): Promise<number> {
  const flags = { rate: provedRate, ...(given as TrainingFlags) };
  refuseFile(file ?? flags.model);
  checkOutputs(flags);
  return await session.interruptible(async (signal) => {
    const { graph, optimizer, seed, run } = await prepare(session, flags, signal);
    const { plan, table, predicted } = run;
    const batch = syntheticBatch(graph, seed, 0);
    await using model = await GraphTrainable.open({ graph, table, plan, optimizer, seed });
    // Counted from before the plan, its code and its memory were in the process. Several steps: what the first ones leave
    // on the heap counts too.
    const progress = session.progress();
    const proving = (done: number, note: string): void =>
      progress.update({ phase: "proving", done, total: provedSteps + 2, note });
    for (let step = 0; step < provedSteps; step++) {
      signal.throwIfAborted();
      proving(step, `step ${step + 1}`);
      await model.step(syntheticBatch(graph, seed, step));
    }
    const growth = model.residentGrowth();
    proving(provedSteps, "a step between canaries");
    const memory = await model.process.callOn("proveMemory", batch, signal);
    proving(provedSteps + 1, "gradients");
    const gradients = await model.process.callOn("proveGradients", batch, signal);
    progress.end();
    const { livePeakBytes, arenaBytes, guarded } = model.memory;
    const checks: Check[] = [
      {
        name: "predicted peak",
        holds: livePeakBytes === predicted.peakBytes,
        text: `${formatBytes(predicted.peakBytes)} predicted, ${formatBytes(livePeakBytes)} of buffers in use at most`,
      },
      {
        name: "budget",
        holds: livePeakBytes <= run.budgetBytes,
        text: `${formatBytes(livePeakBytes)} within ${formatBytes(run.budgetBytes)}; ${formatBytes(arenaBytes)} with the gaps between buffers${guarded ? ", between guard pages" : ""}`,
      },
      {
        name: "canaries",
        holds: memory.strayBytes === 0,
        text:
          memory.strayBytes === 0
            ? `nothing written outside the buffers in use; ${formatBytes(memory.touchedPeakBytes)} touched at most`
            : `${memory.strayBytes} bytes written outside, first by ${graph.operators[memory.strayOperator]?.name}`,
      },
      {
        name: "process",
        holds: growth === null ? null : growth <= predicted.peakBytes + slackBytes,
        text:
          growth === null
            ? "the kernel does not tell"
            : `resident memory grew by ${formatBytes(growth)} in ${provedSteps} steps since before the plan was loaded, at most ${formatBytes(predicted.peakBytes + slackBytes)} allowed`,
      },
      {
        name: "gradients",
        holds: gradients.identical || gradients.largestDifference <= tolerance.gradient,
        text: gradients.identical
          ? "the same bits as keeping everything"
          : `differ by ${formatNumber(gradients.largestDifference)} from keeping everything (other implementations compute again than at first)`,
      },
      {
        name: "differences",
        holds:
          gradients.differenced === 0 ? null : gradients.largestDeviation <= tolerance.differences,
        text: `${
          gradients.differenced === 0
            ? "no parameter could be compared"
            : `${gradients.differenced} parameters within ${formatNumber(100 * gradients.largestDeviation)} % of central differences`
        }${gradients.unresolved === 0 ? "" : `; along ${gradients.unresolved} the loss turns too sharply for single precision (batch norm over few values does that: try a larger batch or image)`}`,
      },
    ];
    const failed = checks.filter(({ holds }) => holds === false);
    if (session.json)
      session.printJson({
        schema: "millrace.memory-verify/1",
        model: graph.name,
        batch: graph.batch,
        machine: table.machine,
        threads: table.threads,
        budgetBytes: run.budgetBytes,
        predictedPeakBytes: predicted.peakBytes,
        livePeakBytes,
        arenaBytes,
        guarded,
        residentGrowthBytes: growth,
        memory,
        gradients,
        checks: checks.map(({ name, holds }) => ({ name, holds })),
        holds: failed.length === 0,
      });
    else
      for (const { name, holds, text } of checks) {
        const mark =
          holds === null ? "-" : session.paint(holds ? "good" : "bad", holds ? "✓" : "✗");
        session.print(`${mark} ${name}: ${text}`);
      }
    return failed.length === 0 ? 0 : 1;
  });
}
