/** The candidates that no other beats in both money and speed. */
import type { JudgedCandidate } from "../types.ts";

/** Latency that stands for speed: TTFT at the load, else the first term of the SLO that is a latency. */
function speed(c: JudgedCandidate): number {
  const latency = c.slo.filter((s) => !s.term.includes("fluidity"));
  const term = latency.find((s) => s.term.startsWith("TTFT")) ?? latency[0];
  return term?.value ?? 0;
}

/** Indices, cheapest first, of the candidates with no other that has more requests per dollar and is at least as fast. */
export function paretoFront(candidates: readonly JudgedCandidate[]): number[] {
  const order = candidates.map((_, i) => i);
  const at = (i: number): JudgedCandidate => candidates[i] as JudgedCandidate;
  order.sort(
    (a, b) => at(b).qpsPerDollar - at(a).qpsPerDollar || speed(at(a)) - speed(at(b)) || a - b,
  );
  const front: number[] = [];
  let fastest = Number.POSITIVE_INFINITY;
  for (const i of order) {
    if (speed(at(i)) >= fastest) continue;
    fastest = speed(at(i));
    front.push(i);
  }
  return front;
}
