/**
 * The steps of a server read off the tokens of its streams: tokens that arrive together are one step, its decodes are counted,
 * and the prompt tokens that it must have computed follow from when first tokens came.
 */
import { median } from "@millrace/core";
import type { StepWork } from "./step-work.ts";

/** One answer as its client saw it, seconds on one clock. */
export interface ObservedStream {
  readonly startedAt: number;
  readonly promptTokens: number;
  /** Arrival of each token, ascending. */
  readonly tokenAt: readonly number[];
}

/** A step as read off the streams. Pairs of all chunks count alike: nothing is known of the server's kernels. */
export interface ObservedStep extends StepWork {
  readonly seconds: number;
}

/** Tokens of one step arrive within this share of the median gap of a stream. */
const TOGETHER = 0.3;

/** Reads the steps of one run, given how many prompt tokens a step computes and whether decodes count against them. */
export function stepsOfRun(
  streams: readonly ObservedStream[],
): (chunkTokens: number, decodesCount: boolean) => readonly ObservedStep[] {
  const moments = momentsOf(streams);
  return (chunkTokens, decodesCount) => stepsOf(streams, moments, chunkTokens, decodesCount);
}

/** Tokens that came together: time, and which stream got which of its tokens. */
interface Moment {
  readonly at: number;
  readonly tokens: { readonly stream: number; readonly index: number }[];
}

function momentsOf(streams: readonly ObservedStream[]): readonly Moment[] {
  const all = streams
    .flatMap(({ tokenAt }, stream) => tokenAt.map((at, index) => ({ at, stream, index })))
    .sort((a, b) => a.at - b.at);
  const gaps = streams.flatMap(({ tokenAt }) =>
    tokenAt.slice(1).map((at, i) => at - (tokenAt[i] as number)),
  );
  const together = gaps.length === 0 ? 0 : TOGETHER * median(gaps);
  const moments: Moment[] = [];
  let seen = new Set<number>();
  for (const { at, stream, index } of all) {
    const last = moments.at(-1);
    if (last !== undefined && at - last.at <= together && !seen.has(stream))
      last.tokens.push({ stream, index });
    else {
      moments.push({ at, tokens: [{ stream, index }] });
      seen = new Set();
    }
    seen.add(stream);
  }
  return moments;
}

/** Steps between moments that share a stream: the engine went straight on there. */
function stepsOf(
  streams: readonly ObservedStream[],
  moments: readonly Moment[],
  chunkTokens: number,
  counted: boolean,
): readonly ObservedStep[] {
  const used = new Float64Array(moments.length);
  const rows = new Int32Array(moments.length);
  const pairs = new Float64Array(moments.length);
  const decodes = moments.map(({ tokens }) => tokens.filter(({ index }) => index > 0).length);
  const room = (i: number): number =>
    Math.max(0, chunkTokens - (used[i] as number) - (counted ? (decodes[i] as number) : 0));
  moments.forEach(({ tokens }, at) => {
    for (const { stream, index } of tokens) {
      if (index > 0) continue;
      const { promptTokens, startedAt } = streams[stream] as ObservedStream;
      // Back from the step that gave the first token to the one that the prompt must have begun in, then forward: schedulers
      // fill the first steps and leave the rest to the last.
      let from = at;
      let held = room(at);
      while (from > 0 && held < promptTokens && (moments[from - 1] as Moment).at > startedAt)
        held += room(--from);
      let done = 0;
      for (let i = from; i <= at; i++) {
        const take = i === at ? promptTokens - done : Math.min(promptTokens - done, room(i));
        if (take <= 0) continue;
        used[i] = (used[i] as number) + take;
        rows[i] = (rows[i] as number) + 1;
        pairs[i] = (pairs[i] as number) + take * (done + take / 2);
        done += take;
      }
    }
  });
  const steps: ObservedStep[] = [];
  for (let i = 1; i < moments.length; i++) {
    const [before, now] = [moments[i - 1] as Moment, moments[i] as Moment];
    const went = new Set(before.tokens.map(({ stream }) => stream));
    const decoded = now.tokens.filter(({ index }) => index > 0);
    if (!decoded.some(({ stream }) => went.has(stream))) continue;
    steps.push({
      prefillTokens: used[i] as number,
      prefillRows: rows[i] as number,
      prefillPairs: pairs[i] as number,
      tilePairs: pairs[i] as number,
      shortPairs: 0,
      decodeRows: decoded.length,
      decodeContext: decoded.reduce(
        (sum, { stream, index }) => sum + (streams[stream] as ObservedStream).promptTokens + index,
        0,
      ),
      outputs: now.tokens.length,
      mapped: 0,
      fresh: 0,
      seconds: now.at - before.at,
    });
  }
  return steps;
}
