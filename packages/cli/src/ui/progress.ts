/** Progress on stderr: one live line on a terminal, a plain line every ten seconds elsewhere, nothing when quiet. */
import { bar } from "./chart.ts";
import { type Paint, unpainted } from "./paint.ts";
import { cut } from "./width.ts";

/** How far a long job is. */
export interface ProgressState {
  readonly phase: string;
  readonly done: number;
  /** 0 when unknown. */
  readonly total: number;
  /** The best result so far, in a few words. */
  readonly best?: string;
  /** Further facts, e.g. "1,204 simulations". */
  readonly note?: string;
}

/** Where progress goes. */
export interface ProgressTarget {
  readonly mode: "live" | "lines" | "off";
  readonly width: () => number;
  readonly write: (text: string) => void;
  readonly paint?: Paint;
  /** Milliseconds; a test passes its own. */
  readonly now: () => number;
}

const liveEveryMs = 100;
const lineEveryMs = 10_000;

/** Shows the newest state at a bearable rate. `clear` before anything else is written, `end` when the job is over. */
export class Progress {
  private readonly target: ProgressTarget;
  private readonly startedAt: number;
  private phase = "";
  private phaseStartedAt: number;
  private phaseStartedDone = 0;
  private shownAt = Number.NEGATIVE_INFINITY;
  private visible = false;

  constructor(target: ProgressTarget) {
    this.target = target;
    this.startedAt = target.now();
    this.phaseStartedAt = this.startedAt;
    // The first plain line is due after a full interval: short jobs stay silent in logs.
    if (target.mode === "lines") this.shownAt = this.startedAt;
  }

  update(state: ProgressState): void {
    const now = this.target.now();
    if (state.phase !== this.phase) {
      this.phase = state.phase;
      this.phaseStartedAt = now;
      this.phaseStartedDone = state.done;
    }
    if (this.target.mode === "off") return;
    const every = this.target.mode === "live" ? liveEveryMs : lineEveryMs;
    if (now - this.shownAt < every) return;
    this.shownAt = now;
    const text = this.describe(state, now);
    if (this.target.mode === "live") {
      this.target.write(`\r\u001b[2K${cut(text, this.target.width() - 1)}`);
      this.visible = true;
    } else this.target.write(`${text}\n`);
  }

  /** Takes the live line away; the next update draws it again. */
  clear(): void {
    if (!this.visible) return;
    this.target.write("\r\u001b[2K");
    this.visible = false;
  }

  end(): void {
    this.clear();
  }

  private describe(state: ProgressState, now: number): string {
    const paint = this.target.paint ?? unpainted;
    const seconds = (now - this.phaseStartedAt) / 1000;
    const rate = seconds > 0 ? (state.done - this.phaseStartedDone) / seconds : 0;
    const parts = [paint("strong", state.phase)];
    if (state.total > 0) {
      const share = state.done / state.total;
      if (this.target.mode === "live") parts.push(bar(share, 16));
      parts.push(`${state.done}/${state.total}`, `${Math.floor(share * 100)}%`);
    } else parts.push(String(state.done));
    if (rate > 0) parts.push(`${significant(rate)}/s`);
    if (rate > 0 && state.total > state.done)
      parts.push(`ETA ${clock((state.total - state.done) / rate)}`);
    if (state.note !== undefined) parts.push(state.note);
    if (state.best !== undefined) parts.push(`best ${state.best}`);
    return parts.join("  ");
  }
}

function significant(value: number): string {
  return value >= 100 ? String(Math.round(value)) : String(Number(value.toPrecision(2)));
}

/** `8 s`, `2:05`, `1:02:03`. */
export function clock(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  const two = (n: number) => String(n).padStart(2, "0");
  const minutes = Math.floor(whole / 60) % 60;
  const hours = Math.floor(whole / 3600);
  return hours > 0
    ? `${hours}:${two(minutes)}:${two(whole % 60)}`
    : `${minutes}:${two(whole % 60)}`;
}
