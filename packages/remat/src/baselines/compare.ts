/** All baselines and our plan within one budget, on the same costs and judged by the same simulator. */
import type { LinearSolver } from "@millrace/core/solver";
import type { Problem } from "../problem/problem.ts";
import { type PlanResult, planMemory } from "../solve/planner.ts";
import type { Effort } from "../solve/solver.ts";
import { baselines } from "./index.ts";
import { monetPlan } from "./monet.ts";

/** One way to train within a budget. */
export interface ComparedPlan {
  readonly name: string;
  /** Null when it has no plan within the budget; its bound may still say how fast one could be. */
  readonly time: number | null;
  readonly peak: number | null;
  /** Whether its peak keeps to the budget; some baselines know none. */
  readonly fits: boolean;
  readonly lowerBound: number | null;
  readonly note: string;
}

/** How much work each planned row gets. */
export interface CompareOptions {
  readonly effort: Effort;
  readonly seed: number;
  readonly programs: LinearSolver;
  /** For each row that is planned. */
  readonly timeLimitSeconds?: number;
  readonly signal?: AbortSignal;
  /** Told the row that is worked on. */
  readonly onRow?: (name: string) => void;
}

function planned(name: string, note: string, result: PlanResult): ComparedPlan {
  return {
    name,
    time: result.time,
    peak: result.peak,
    fits: result.feasible,
    lowerBound: result.lowerBound,
    note: result.feasible
      ? note
      : `${note}; ${result.boundScope === "none" ? "none found" : "none exists"}`,
  };
}

/**
 * Rows in the order of the field's history. `plain` has one implementation per operator as PyTorch has, `joint` all of
 * them; they are the same problem where no library is at hand.
 */
export async function compareMemory(
  plain: Problem,
  joint: Problem,
  budget: number,
  options: CompareOptions,
): Promise<ComparedPlan[]> {
  const notes: Readonly<Record<string, string>> = {
    "store everything": "knows no budget",
    "sqrt(n) segments": "knows no budget",
    "Gist-style encodings": "knows no budget; packed masks and indices, no recomputation",
    revolve: "chains; as many checkpoints as fit",
    DTR: "online, knows the past alone",
  };
  const rows: ComparedPlan[] = baselines(plain, joint, budget).map((row) => ({
    ...row,
    fits: row.peak <= budget * (1 + 1e-12),
    lowerBound: null,
    note: notes[row.name] ?? "",
  }));
  const { effort, seed, programs } = options;
  const common = {
    seed,
    programs,
    minBudget: false,
    ...(options.timeLimitSeconds !== undefined && { timeLimitSeconds: options.timeLimitSeconds }),
    ...(options.signal !== undefined && { signal: options.signal }),
  };
  options.onRow?.("Checkmate");
  const checkmate = await planMemory(plain, budget, { ...common, effort });
  rows.push(planned("Checkmate (operators fixed)", "our planner on its problem", checkmate));
  options.onRow?.("MONeT");
  const monet = await monetPlan(joint, budget, programs, { ...common, effort });
  if (monet !== null)
    rows.push({
      name: "MONeT's constraints",
      time: monet.time,
      peak: monet.peak,
      fits: monet.plan !== null,
      lowerBound: monet.lowerBound === Number.POSITIVE_INFINITY ? null : monet.lowerBound,
      note:
        monet.plan === null
          ? monet.lowerBound === Number.POSITIVE_INFINITY
            ? "its program has no solution"
            : "no plan found"
          : "skips over what runs again always count",
    });
  options.onRow?.("millrace");
  const ours = await planMemory(joint, budget, { ...common, effort });
  rows.push(planned("millrace", "operators and checkpoints together", ours));
  return rows;
}
