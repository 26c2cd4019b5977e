import { Rng } from "@millrace/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { SamplingParams } from "../contracts.ts";
import { philox } from "./counter-random.ts";
import {
  argmax,
  defaultSampling,
  greedySampling,
  logSumExp,
  NO_TOKEN,
  Sampler,
  TokenHistory,
  tokenLogprobs,
  uniformAt,
} from "./index.ts";

const hex = (words: Uint32Array): string =>
  Array.from(words, (w) => w.toString(16).padStart(8, "0")).join(" ");

/** Probabilities by the book: full sort, no shortcuts. */
function exact(logits: Float32Array, p: SamplingParams): number[] {
  const max = logits.reduce((a, b) => Math.max(a, b));
  let all = Array.from(logits, (x, id) => ({ id, w: Math.exp((x - max) / p.temperature) }));
  all.sort((a, b) => b.w - a.w || a.id - b.id);
  all = all.filter((t) => t.w >= p.minP);
  if (p.topK > 0) all = all.slice(0, p.topK);
  let sum = all.reduce((s, t) => s + t.w, 0);
  if (p.topP < 1) {
    let kept = 0;
    let n = 0;
    while (n < all.length && (n === 0 || kept < p.topP * sum)) kept += all[n++].w;
    all = all.slice(0, n);
    sum = kept;
  }
  const out = new Array<number>(logits.length).fill(0);
  for (const t of all) out[t.id] = t.w / sum;
  return out;
}

function randomLogits(seed: number, n: number, spread = 3): Float32Array {
  const rng = new Rng(seed);
  return Float32Array.from({ length: n }, () => rng.normal(0, spread));
}

/** Frequencies of `n` draws at consecutive positions. */
function frequencies(
  logits: Float32Array,
  params: SamplingParams,
  n: number,
  more: { history?: TokenHistory; banned?: Int32Array; allow?: (token: number) => boolean } = {},
): number[] {
  const sampler = new Sampler(logits.length);
  const counts = new Array<number>(logits.length).fill(0);
  const allow = more.allow;
  const filter =
    allow === undefined
      ? null
      : {
          allows: allow,
          mask: (l: Float32Array) => {
            for (let i = 0; i < l.length; i++) if (!allow(i)) l[i] = Number.NEGATIVE_INFINITY;
          },
        };
  for (let i = 0; i < n; i++)
    counts[sampler.sample(logits, params, more.history ?? null, i, more.banned ?? null, filter)]++;
  return counts.map((c) => c / n);
}

/** Every frequency within five standard deviations of its probability; impossible tokens never. */
function agrees(found: readonly number[], expected: readonly number[], n: number): void {
  expected.forEach((p, i) => {
    if (p === 0) expect(found[i]).toBe(0);
    else expect(Math.abs(found[i] - p)).toBeLessThan(5 * Math.sqrt((p * (1 - p)) / n) + 1e-9);
  });
}

describe("counter-based random numbers", () => {
  it("are Philox4x32-10 by its published answers", () => {
    const out = new Uint32Array(4);
    philox(0, 0, 0, 0, 0, 0, out);
    expect(hex(out)).toBe("6627e8d5 e169c58d bc57ac4c 9b00dbd8");
    const f = 0xffffffff;
    philox(f, f, f, f, f, f, out);
    expect(hex(out)).toBe("408f276d 41c83b0e a20bc7c6 6d5451fd");
    philox(0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0, out);
    expect(hex(out)).toBe("d16cfe09 94fdcceb 5001e420 24126ea1");
  });

  it("depend on seed, position and draw alone", () => {
    expect(uniformAt(7, 3, 0)).toBe(uniformAt(7, 3, 0));
    const all = new Set([
      uniformAt(7, 3, 0),
      uniformAt(7, 4, 0),
      uniformAt(8, 3, 0),
      uniformAt(7, 3, 1),
      uniformAt(7 + 2 ** 32, 3, 0),
    ]);
    expect(all.size).toBe(5);
  });
});

describe("Sampler", () => {
  const n = 20_000;
  const cases: [string, Partial<SamplingParams>][] = [
    ["temperature 1", {}],
    ["temperature 0.5", { temperature: 0.5 }],
    ["temperature 3", { temperature: 3 }],
    ["top-k", { topK: 5 }],
    ["top-p", { topP: 0.8 }],
    ["min-p", { minP: 0.1 }],
    ["all of them", { temperature: 1.5, topK: 9, topP: 0.9, minP: 0.05 }],
  ];
  it.each(cases)("draws the exact distribution: %s", (_name, some) => {
    const params = { ...defaultSampling, seed: 11, ...some };
    const logits = randomLogits(1, 24);
    agrees(frequencies(logits, params, n), exact(logits, params), n);
  });

  it("keeps exactly the tokens that a full sort keeps", () => {
    const values = fc.array(fc.integer({ min: -40, max: 40 }), { minLength: 1, maxLength: 60 });
    fc.assert(
      fc.property(
        values,
        fc.integer({ min: 0, max: 70 }),
        fc.constantFrom(0.05, 0.3, 0.5, 0.9, 0.999, 1),
        fc.constantFrom(0, 0.01, 0.2, 1),
        fc.constantFrom(0.2, 1, 7),
        (v, topK, topP, minP, temperature) => {
          const logits = Float32Array.from(v, (x) => x / 8);
          const params = { ...defaultSampling, topK, topP, minP, temperature };
          const p = exact(logits, params);
          const sampler = new Sampler(logits.length);
          for (let i = 0; i < 40; i++)
            if (!(p[sampler.sample(logits, params, null, i, null, null)] > 0)) return false;
          return true;
        },
      ),
      { numRuns: 300, seed: 5 },
    );
  });

  it("agrees with a full sort on a vocabulary of 128,000", () => {
    const logits = randomLogits(3, 128_000, 2);
    const params = { ...defaultSampling, temperature: 0.8, topK: 50, topP: 0.9, seed: 4 };
    agrees(frequencies(logits, params, 200), exact(logits, params), 200);
  });

  it("is greedy at temperature 0, the lowest id among equals", () => {
    const sampler = new Sampler(4);
    const logits = Float32Array.of(1, 5, 5, -1);
    expect(sampler.sample(logits, greedySampling, null, 0, null, null)).toBe(1);
    expect(argmax(Float32Array.of(Number.NaN, 2, 1))).toBe(1);
  });

  it("applies penalties, bias and bans by their formulas", () => {
    const logits = randomLogits(9, 12, 1);
    const history = new TokenHistory();
    history.addPrompt(Int32Array.of(1, 2, 3));
    for (const t of [3, 4, 4]) history.add(t);
    const params = {
      ...defaultSampling,
      repetitionPenalty: 1.7,
      presencePenalty: 0.4,
      frequencyPenalty: 0.3,
      logitBias: new Map([
        [5, 2],
        [6, -100],
      ]),
      seed: 2,
    };
    const shaped = Float32Array.from(logits, (x, id) => {
      let y = x;
      if ([1, 2, 3, 4].includes(id)) y = y > 0 ? y / 1.7 : y * 1.7;
      if (id === 3) y -= 0.4 + 0.3;
      if (id === 4) y -= 0.4 + 0.6;
      if (id === 5) y += 2;
      if (id === 6) y -= 100;
      if (id === 7) y = Number.NEGATIVE_INFINITY;
      return y;
    });
    const found = frequencies(logits, params, n, { history, banned: Int32Array.of(7) });
    agrees(
      found.filter((_, i) => i !== 6),
      exact(shaped, params).filter((_, i) => i !== 6),
      n,
    );
    expect(found[6]).toBe(0);
  });

  it("draws the masked distribution under a filter", () => {
    const logits = randomLogits(21, 16, 2);
    const allow = (token: number): boolean => token % 3 === 0;
    const masked = Float32Array.from(logits, (x, i) => (allow(i) ? x : Number.NEGATIVE_INFINITY));
    const params = { ...defaultSampling, seed: 5 };
    agrees(frequencies(logits, params, n, { allow }), exact(masked, params), n);
  });

  it("leaves the logits of the executor alone, and carries nothing over", () => {
    const logits = randomLogits(2, 50);
    const before = Float32Array.from(logits);
    const sampler = new Sampler(50);
    const params = { ...defaultSampling, topP: 0.7, seed: 1 };
    const alone = sampler.sample(logits, params, null, 17, null, null);
    sampler.sample(randomLogits(3, 50), params, null, 3, Int32Array.of(1), null);
    expect(sampler.sample(logits, params, null, 17, null, null)).toBe(alone);
    expect(logits).toEqual(before);
  });

  it("says when no token is possible", () => {
    const sampler = new Sampler(3);
    const none = new Float32Array(3).fill(Number.NEGATIVE_INFINITY);
    expect(sampler.sample(none, defaultSampling, null, 0, null, null)).toBe(NO_TOKEN);
    const nan = new Float32Array(3).fill(Number.NaN);
    expect(sampler.sample(nan, greedySampling, null, 0, null, null)).toBe(NO_TOKEN);
    const one = Float32Array.of(Number.NaN, Number.NEGATIVE_INFINITY, 1);
    expect(sampler.sample(one, { ...defaultSampling, topP: 0.5 }, null, 0, null, null)).toBe(2);
    const infinite = Float32Array.of(0, Number.POSITIVE_INFINITY, 1);
    expect(sampler.sample(infinite, defaultSampling, null, 0, null, null)).toBe(1);
  });
});

describe("logprobs", () => {
  it("are of the model's own distribution, most likely first", () => {
    const logits = randomLogits(4, 200);
    const norm = Math.log(logits.reduce((s, x) => s + Math.exp(x), 0));
    expect(logSumExp(logits)).toBeCloseTo(norm, 9);
    const order = Array.from(logits.keys()).sort((a, b) => logits[b] - logits[a] || a - b);
    const found = tokenLogprobs(logits, 7, 5);
    expect(found.logprob).toBeCloseTo(logits[7] - norm, 9);
    expect(found.top.map((t) => t.token)).toEqual(order.slice(0, 5));
    expect(found.top[0].logprob).toBeCloseTo(logits[order[0]] - norm, 9);
    expect(tokenLogprobs(logits, 7, 0).top).toEqual([]);
    const with0 = Float32Array.of(1, Number.NEGATIVE_INFINITY);
    expect(tokenLogprobs(with0, 1, 2).logprob).toBe(-9999);
  });
});
