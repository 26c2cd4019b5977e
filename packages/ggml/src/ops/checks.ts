/** What several operators ask of their operands before ggml sees them. */
import { badOperands } from "../fail.ts";
import type { Tensor } from "../tensor.ts";

export function dense(op: string, ...tensors: readonly Tensor[]): void {
  for (const t of tensors)
    if (t.type !== "f32" || !t.contiguous) badOperands(op, `${t} must be contiguous f32`);
}

export function sameShape(op: string, a: Tensor, b: Tensor): void {
  if (a.ne.join() !== b.ne.join()) badOperands(op, `${a} and ${b} must have one shape`);
}

export function repeats(op: string, b: Tensor, a: Tensor): void {
  for (let i = 0; i < 4; i++)
    if ((a.ne[i] as number) % (b.ne[i] as number) !== 0)
      badOperands(op, `${b} cannot be repeated to ${a}`);
}
