/** A short name of everything a plan decides, so that two runs can be compared step by step without keeping the plans. */
import type { StepPlan } from "./step-plan.ts";

/** Two lanes of FNV-1a, so that a difference among millions of steps is not missed by chance. */
class Digest {
  private a = 0x811c9dc5;
  private b = 0x01000193;

  add(x: number): void {
    this.a = Math.imul(this.a ^ x, 0x01000193);
    this.b = Math.imul((this.b ^ x) + 0x9e3779b9, 0x85ebca6b);
    this.b ^= this.b >>> 15;
  }

  list(values: ArrayLike<number>, n: number): void {
    this.add(n);
    for (let i = 0; i < n; i++) this.add(values[i]!);
  }

  text(): string {
    const hex = (x: number): string => (x >>> 0).toString(16).padStart(8, "0");
    return hex(this.a) + hex(this.b);
  }
}

/** 16 hexadecimal digits of rows, preemptions, admissions and page orders; not of the time. */
export function planDigest(plan: StepPlan): string {
  const digest = new Digest();
  const { rows, kvBefore } = plan;
  digest.add(plan.ticket);
  for (const part of [plan.seq, plan.start, plan.count, plan.flags]) digest.list(part, rows);
  digest.list(plan.preempted.data, plan.preempted.n);
  digest.list(plan.admitted.data, plan.admitted.n);
  for (const part of [kvBefore.op, kvBefore.slot, kvBefore.page, kvBefore.phys])
    digest.list(part, kvBefore.n);
  return digest.text();
}
