/** The decision log (inputs of the replica, for replay) and the timing log (one line a step), each only where wanted. */
import { type DecisionHead, DecisionLog, planDigest, type StepPlan } from "@millrace/serving";
import type { StepTiming } from "../contracts.ts";
import { LineFile } from "./line-file.ts";
import type { SchedulerSettings } from "./scheduler-settings.ts";

export class EngineLogs {
  /** Takes the inputs until they are flushed; null when nobody wants them. */
  readonly inputs: DecisionLog | null;
  private readonly decisions: LineFile | null;
  private readonly timings: LineFile | null;

  /** Paths of the files. @throws MillraceError OUTPUT_UNWRITABLE. */
  constructor(paths: { readonly decisions?: string; readonly timings?: string }) {
    this.decisions = paths.decisions === undefined ? null : new LineFile(paths.decisions);
    this.timings = paths.timings === undefined ? null : new LineFile(paths.timings);
    this.inputs = this.decisions === null ? null : new DecisionLog();
  }

  /** First line: what a replay must be made of. */
  head(head: DecisionHead): void {
    this.decisions?.write([head]);
  }

  /** A plan was submitted. */
  plan(plan: StepPlan): void {
    this.decisions?.write([{ kind: "plan", ticket: plan.ticket, digest: planDigest(plan) }]);
  }

  /** What follows is planned by this scheduler, with tickets from 0. */
  scheduler(settings: SchedulerSettings): void {
    this.flush();
    this.decisions?.write([{ kind: "scheduler", settings }]);
  }

  timing(step: StepTiming): void {
    this.timings?.write([step]);
  }

  /** Writes the inputs since the last flush. */
  flush(): void {
    if (this.inputs === null || this.decisions === null) return;
    this.decisions.write(this.inputs.entries);
    this.inputs.entries.length = 0;
  }

  /** Resolves when all lines are in the files. */
  async close(): Promise<void> {
    this.flush();
    await Promise.all([this.decisions?.close(), this.timings?.close()]);
  }
}
