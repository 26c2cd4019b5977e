/** What running requests and a newcomer feel when a long prompt arrives (Sarathi-Serve figures 1 and 4). */
import type { EngineClient } from "../contracts.ts";
import { follow, randomRequest, startAll } from "./requests.ts";

export interface ArrivalOptions {
  /** Requests that decode when the prompt arrives. */
  readonly decodes: number;
  /** Tokens of the prompt that arrives. */
  readonly prompt: number;
  readonly seed: number;
  readonly signal: AbortSignal;
}

/** Wall milliseconds. */
export interface Arrival {
  /** Longest time between two tokens of a running request while the prompt is computed. */
  readonly gap: number;
  /** From the arrival to the newcomer's first token. */
  readonly ttft: number;
}

/** Lets a prompt arrive at an idle engine once `decodes` requests generate. */
export async function measureArrival(
  engine: EngineClient,
  { decodes, prompt, seed, signal }: ArrivalOptions,
): Promise<Arrival> {
  const { vocabularySize } = engine.card;
  const times = Array.from({ length: decodes }, (): number[] => []);
  const requests = times.map((_, i) => randomRequest(64, 400, seed * 1000 + i, vocabularySize));
  const running = await startAll(engine, requests, signal, {
    tokensFirst: 8,
    seen: (i, at) => times[i]?.push(at),
  });
  // The step that gave the last tokens ended just now; the newcomer comes before the next one.
  const arrivedAt = Math.max(...times.map((at) => at.at(-1) as number));
  let first = 0;
  const newcomer = randomRequest(prompt, 4, seed * 1000 + decodes, vocabularySize);
  await follow(engine.generate(newcomer, signal), (_, at) => {
    first ||= at;
  });
  await running.stop();
  const gaps = times.flatMap((at) =>
    at.slice(1).flatMap((time, i) => {
      const before = at[i] as number;
      return time > arrivedAt && before < first ? [time - before] : [];
    }),
  );
  return { gap: 1e3 * Math.max(...gaps), ttft: 1e3 * (first - arrivedAt) };
}
