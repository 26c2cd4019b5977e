/** `millrace memory explain`: why each tensor is kept or recomputed, and what one more MiB would buy. */
import { formatPercent, MillraceError } from "@millrace/core";
import { explainPlan, memoryPrice, planMemory, storeAll } from "@millrace/remat";
import { commandLine } from "../../command-line.ts";
import { version } from "../../program/version.ts";
import type { Session } from "../../session.ts";
import { table } from "../../ui/table.ts";
import { proofText, unitsOf } from "./plan.ts";
import { budgetOf, type GraphFlags, outputOf, programsOf, searchOf, sourceOf } from "./source.ts";

/** Tensors of the table unless all are asked for. */
const shownTensors = 40;

/** Seconds that the price of memory may take where no limit is given. */
const priceSeconds = 30;

export async function memoryExplainCommand(
  session: Session,
  file: string | undefined,
  given: Readonly<Record<string, unknown>>,
): Promise<number> {
  const flags = given as GraphFlags & { readonly html?: string; readonly all?: boolean };
  const source = sourceOf(file, flags);
  const budget = budgetOf(source, flags.budget);
  const { problem } = source;
  const { size, time } = unitsOf(source);
  const progress = session.progress();
  progress.update({ phase: "planning", done: 0, total: 0, note: problem.name });
  using output = outputOf(flags.html);
  await using programs = programsOf(flags);
  const { result, price } = await session.interruptible(async (signal) => ({
    result: await planMemory(problem, budget, { ...searchOf(flags), signal, programs }),
    // The dual is a hint, not the answer: it may take as long as the plan was given.
    price: await memoryPrice(problem, budget, programs, {
      signal,
      timeLimitSeconds: searchOf(flags).timeLimitSeconds ?? priceSeconds,
    }),
  }));
  progress.end();
  if (result.plan === null)
    throw new MillraceError("NOTHING_FITS", `no plan within ${size(budget)}`, {
      ...(result.minBudget !== null && {
        hint: `the smallest budget ${result.minBudgetExact ? "is" : "found is"} ${size(result.minBudget)}`,
      }),
    });
  const tensors = explainPlan(problem, result.plan);
  if (output !== null) {
    const { renderReport } = await import("@millrace/report");
    const { timelineReport } = await import("@millrace/remat/report");
    const document = timelineReport({
      problem,
      plan: result.plan,
      before: { problem: source.plain, plan: storeAll(source.plain).plan },
      budget,
      proof: proofText(result),
      physical: source.physical,
      costs: source.times,
      context: { command: commandLine(), version },
    });
    output.write(renderReport(document));
    output.commit();
  }
  const perMiB = source.physical ? 2 ** 20 : 1;
  if (session.json) {
    session.printJson({
      schema: "millrace.memory-explain/1",
      name: problem.name,
      budget,
      time: result.time,
      peak: result.peak,
      timePerUnit: price,
      tensors,
    });
    return 0;
  }
  const right = (t: string) => ({ title: t, align: "right" }) as const;
  const decided = tensors.filter((t) => t.fate !== "transient");
  const shown = flags.all === true ? tensors : decided.slice(0, shownTensors);
  session.print(
    table(
      [
        { title: "tensor" },
        { title: "operator", least: 12 },
        right("size"),
        { title: "fate" },
        right("made"),
        right("costs"),
        right("worth"),
      ],
      shown.map((t) => [
        t.tensor,
        t.operator,
        size(t.size),
        t.fate,
        String(t.made),
        time(t.fate === "recomputed" ? t.recomputeTime : t.ownTime),
        price === null ? "–" : time(price * t.size),
      ]),
      session,
    ),
  );
  session.print("");
  session.print(
    price === null
      ? "what more memory would buy is not known: the relaxation was not solved"
      : price === 0
        ? "more memory would buy nothing"
        : `one more ${source.physical ? "MiB" : "unit"} would save ${time(price * perMiB)} a step (${formatPercent((price * perMiB) / (result.time ?? 1))})`,
  );
  if (shown.length < decided.length)
    session.note(`the largest ${shown.length} of ${decided.length} tensors; --all shows every one`);
  session.note(
    "costs: time of making it again, or once if it were not kept; worth: its size times the price of memory, by the dual of the relaxation",
  );
  return 0;
}
