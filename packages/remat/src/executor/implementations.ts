/**
 * The implementations of an operator under the names that plans use. A backward pass in two parts is listed twice: with
 * its inputs kept to its end, and split, when the inputs of the first part are given up before the second.
 */
import type { Need } from "../graph/library.ts";
import type {
  Backward,
  BackwardPart,
  Forward,
  OperatorKind,
  OperatorShape,
} from "./operators/operator.ts";

/** Ending of the names of split implementations. */
const splitMark = "/split";

/** A backward pass as a plan may choose it. */
export interface BackwardForm {
  readonly name: string;
  readonly backward: Backward;
  /** Input positions given up after the first part; null when nothing is. */
  readonly frees: readonly number[] | null;
}

const fitting = <T extends { readonly fits?: (op: OperatorShape) => boolean }>(
  list: readonly T[],
  op: OperatorShape,
): T[] => list.filter((item) => item.fits?.(op) ?? true);

/** Forward implementations of an operator. */
export function forwardForms(kind: OperatorKind, op: OperatorShape): readonly Forward[] {
  return fitting(kind.forward, op);
}

/** Reads of a part that exist for this operator: what comes from the network's input is no tensor of the plan. */
export function needsOf(part: BackwardPart, op: OperatorShape): readonly string[] {
  return part.needs.filter(
    (name) => !name.startsWith("x") || Number(name.slice(1)) < op.inputs.length,
  );
}

/** Backward implementations of an operator, each split form after its plain one. */
export function backwardForms(kind: OperatorKind, op: OperatorShape): readonly BackwardForm[] {
  return fitting(kind.backward, op).flatMap((backward): BackwardForm[] => {
    const plain: BackwardForm = { name: backward.name, backward, frees: null };
    const [first, second] = backward.parts;
    if (first === undefined || second === undefined) return [plain];
    const later = new Set(needsOf(second, op));
    const frees = needsOf(first, op)
      .filter((name) => name.startsWith("x") && !later.has(name))
      .map((name) => Number(name.slice(1)));
    if (frees.length === 0) return [plain];
    return [plain, { name: backward.name + splitMark, backward, frees }];
  });
}

/** A kernel's read as the planner names it. */
export function plannerNeed(name: string): Need {
  if (name === "y") return { kind: "output" };
  if (name === "a") return { kind: "auxiliary" };
  return { kind: "input", position: Number(name.slice(1)) };
}
