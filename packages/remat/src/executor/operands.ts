/** Which operands the kernels of an operator have, by name and shape. */

import { needsOf } from "./implementations.ts";
import type { OperandShape } from "./kernel.ts";
import type { BackwardPart, Forward, OperatorKind, OperatorShape } from "./operators/operator.ts";

const f32 = (ne: readonly number[]): OperandShape => ({ type: "f32", ne });

/** Constants of an operator as operands. */
function constants(kind: OperatorKind, op: OperatorShape): [string, OperandShape][] {
  return [...(kind.constants?.(op) ?? [])].map(([name, values]) => [
    name,
    { type: "i32", ne: [values.length] },
  ]);
}

/** The auxiliary tensor: f32 where kernels of ggml read it, bytes of packed bits otherwise. */
export function auxiliaryShape(bytes: number, native: boolean): OperandShape {
  return native ? f32([bytes / 4]) : { type: "i8", ne: [bytes] };
}

function common(kind: OperatorKind, op: OperatorShape): [string, OperandShape][] {
  return [
    ...op.reads.map((shape, i): [string, OperandShape] => [`r${i}`, shape]),
    ...op.parameters.map((ne, i): [string, OperandShape] => [`w${i}`, f32(ne)]),
    ...constants(kind, op),
  ];
}

/** Operands of a forward kernel. */
export function forwardOperands(
  kind: OperatorKind,
  op: OperatorShape,
  form: Forward,
): Map<string, OperandShape> {
  const shapes = new Map(common(kind, op));
  op.inputs.forEach((ne, i) => {
    if (i !== form.inPlace) shapes.set(`x${i}`, f32(ne));
  });
  shapes.set("y", f32(op.output));
  const channels = kind.statistics?.(op);
  if (channels !== undefined) shapes.set("s", f32([2 * channels]));
  const kept = form.auxiliaryBytes?.(op);
  if (kept !== undefined) shapes.set("a", auxiliaryShape(kept, "native" in form.code));
  return shapes;
}

/** Operands of a part of a backward pass; `auxiliaryBytes` is what its forward pass kept. */
export function backwardOperands(
  kind: OperatorKind,
  op: OperatorShape,
  part: BackwardPart,
  inPlace: number | undefined,
  auxiliaryBytes: number,
): Map<string, OperandShape> {
  const shapes = new Map(common(kind, op));
  // The loss is the end of the chain: its own gradient is 1 and no operand.
  if (op.operation.kind !== "crossEntropy") shapes.set("dy", f32(op.output));
  for (const need of needsOf(part, op)) {
    if (need === "y") shapes.set("y", f32(op.output));
    else if (need === "a") shapes.set("a", auxiliaryShape(auxiliaryBytes, "native" in part.code));
    else shapes.set(need, f32(op.inputs[Number(need.slice(1))] as readonly number[]));
  }
  if (part.writes !== "parameters")
    for (const [i, ne] of op.inputs.entries()) if (i !== inPlace) shapes.set(`dx${i}`, f32(ne));
  if (part.writes !== "inputs")
    for (const [i, ne] of op.parameters.entries()) shapes.set(`dw${i}`, f32(ne));
  return shapes;
}
