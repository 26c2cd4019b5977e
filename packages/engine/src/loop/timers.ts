/** Timers over any span of seconds. */

/** A longer timer would fire at once. */
const longestMs = 2 ** 31 - 1;

/** Calls `run` after `seconds`; never for spans beyond 24 days, Infinity among them. */
export function later(seconds: number, run: () => void): NodeJS.Timeout | undefined {
  const ms = Math.max(0, seconds * 1000);
  return ms <= longestMs ? setTimeout(run, ms) : undefined;
}
