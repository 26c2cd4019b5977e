/**
 * A signal that aborts after a while. `AbortSignal.any` holds its sources weakly, so an `AbortSignal.timeout` that only such
 * a signal knows may be collected, and then never fires: whoever waits for it waits for ever (Node 20 to 22 at least). Here
 * the timer holds the signal.
 */
export class TimeLimit implements Disposable {
  readonly signal: AbortSignal;
  private readonly timer: NodeJS.Timeout;
  private readonly outer: AbortSignal | undefined;
  private readonly follow: () => void;

  /** Aborts with a TimeoutError after `ms`, or before with the reason of `outer`. Dispose of it when the work is over. */
  constructor(ms: number, outer?: AbortSignal) {
    const controller = new AbortController();
    this.signal = controller.signal;
    this.outer = outer;
    this.follow = () => controller.abort(outer?.reason);
    this.timer = setTimeout(
      () => controller.abort(new DOMException(`no end within ${ms} ms`, "TimeoutError")),
      ms,
    );
    if (outer?.aborted === true) this.follow();
    else outer?.addEventListener("abort", this.follow, { once: true });
  }

  [Symbol.dispose](): void {
    clearTimeout(this.timer);
    this.outer?.removeEventListener("abort", this.follow);
  }
}
