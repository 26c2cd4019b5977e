/** Multi-turn sessions: how many turns each has and how long a user thinks between them. */
import type { Rng } from "@millrace/core";
import type { SessionSpec } from "../contracts.ts";

/** Draws turns and think times; one stream each, so that neither moves the other. */
export class SessionPlan {
  /** Every session has one turn. */
  readonly single: boolean;
  private readonly spec: SessionSpec | undefined;
  private readonly turnRng: Rng;
  private readonly thinkRng: Rng;

  constructor(spec: SessionSpec | undefined, rng: Rng) {
    this.spec = spec;
    this.single = spec === undefined || spec.turns === 1;
    this.turnRng = rng.fork("turns");
    this.thinkRng = rng.fork("think");
  }

  /** Turns of the next session, >= 1. */
  turns(): number {
    const turns = this.spec?.turns ?? 1;
    return typeof turns === "number" ? turns : this.turnRng.int(turns.min, turns.max);
  }

  /** Seconds before the next turn. */
  think(): number {
    const mean = this.spec?.thinkSeconds ?? 0;
    if (mean === 0 || this.spec?.thinkProcess !== "exponential") return mean;
    return this.thinkRng.exponential(1 / mean);
  }
}
