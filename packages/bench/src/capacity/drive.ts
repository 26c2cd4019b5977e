/** Drives a search: carries probes out one after the other until it is over, and keeps what was found when it is not. */
import { MillraceError } from "@millrace/core";
import type { CapacityEnd, CapacityProbe } from "./report.ts";
import type { CapacityEstimate, CapacitySearch } from "./search.ts";

/**
 * Carries out a run at a rate. Resolves to null when the signal ended it before it showed anything; throws MillraceError
 * when the endpoint cannot be used at all.
 */
export type Probe = (
  rateQps: number,
  number: number,
  signal: AbortSignal,
) => Promise<CapacityProbe | null>;

export interface DriveOptions {
  readonly signal?: AbortSignal;
  /** Told before each probe and after it. */
  readonly onStart?: (rateQps: number, number: number, estimate: CapacityEstimate) => void;
  readonly onProbe?: (probe: CapacityProbe, estimate: CapacityEstimate) => void;
}

export interface DriveResult {
  readonly end: CapacityEnd;
  /** What went wrong; null when nothing did. */
  readonly problem: string | null;
  readonly probes: readonly CapacityProbe[];
  readonly capacity: CapacityEstimate;
}

/**
 * Runs the search to its end, or until the signal aborts. An endpoint that stops answering ends it with what is known;
 * one that never answered throws.
 */
export async function driveCapacity(
  search: CapacitySearch,
  probe: Probe,
  { signal = new AbortController().signal, onStart, onProbe }: DriveOptions = {},
): Promise<DriveResult> {
  const probes: CapacityProbe[] = [];
  const result = (end: CapacityEnd, problem: string | null = null): DriveResult => ({
    end,
    problem,
    probes,
    capacity: search.estimate(),
  });
  for (;;) {
    const step = search.next();
    if (step.kind === "end") return result(step.reason, lastReason(step.reason, probes));
    if (signal.aborted) return result("stopped");
    const number = probes.length + 1;
    onStart?.(step.rateQps, number, search.estimate());
    let outcome: CapacityProbe | null;
    try {
      outcome = await probe(step.rateQps, number, signal);
    } catch (error) {
      const lost = error instanceof MillraceError && error.code === "ENVIRONMENT_MISSING";
      if (probes.length === 0 || !lost) throw error;
      return result("endpoint-lost", error.message);
    }
    if (outcome === null) return result("stopped");
    probes.push(outcome);
    search.record(outcome);
    onProbe?.(outcome, search.estimate());
  }
}

/** Of a search that the client limited, what the client could not do. */
function lastReason(end: CapacityEnd, probes: readonly CapacityProbe[]): string | null {
  if (end !== "client-limited") return null;
  return probes.findLast((p) => p.outcome === "invalid")?.reasons[0] ?? null;
}
