import { expect, it } from "vitest";
import type { BenchTokenizer } from "../contracts.ts";
import { ChunkRows } from "./chunk-rows.ts";
import { reconcile } from "./reconcile.ts";

const none = { ids: -1, logprobs: -1, usage: -1, serverUs: -1, event: -1, kind: 0, choice: 0 };
type Row = Partial<typeof none> & { readonly chars: number };

function raw(...rows: readonly Row[]) {
  const made = new ChunkRows();
  for (const [i, row] of rows.entries()) made.add({ ...none, timeUs: i, ...row });
  return made.seal();
}
const usage = (completionTokens: number) => ({
  promptTokens: null,
  completionTokens,
  reasoningTokens: null,
  cachedTokens: null,
});
/** Two characters a token, the rest of the text one more. */
const pairs: BenchTokenizer = {
  name: "pairs",
  vocabularySize: 9,
  encode: (text) => new Array<number>(Math.ceil(text.length / 2)).fill(0),
  decode: () => "",
};

it("prefers ids, then logprobs, then running usage, then the tokenizer, then the total", async () => {
  const all = raw(
    { chars: 2, ids: 3, logprobs: 2, usage: 1 },
    { chars: 2, ids: 1, logprobs: 1, usage: 5 },
  );
  expect(await reconcile(all, usage(5), ["abcd"], pairs)).toEqual({
    tokens: Int32Array.of(3, 1),
    source: "ids",
    disagreement: -1,
  });
  const running = await reconcile(
    raw({ chars: 2, usage: 1 }, { chars: 2, usage: 5 }),
    null,
    null,
    pairs,
  );
  expect([running.source, [...running.tokens], running.disagreement]).toEqual([
    "continuous-usage",
    [1, 4],
    null,
  ]);
  const local = await reconcile(raw({ chars: 3 }, { chars: 1 }), usage(2), ["abcd"], pairs);
  expect([local.source, [...local.tokens], local.disagreement]).toEqual(["tokenizer", [2, 0], 0]);
  const shared = await reconcile(raw({ chars: 6 }, { chars: 3 }), usage(3), null, null);
  expect([shared.source, [...shared.tokens], shared.disagreement]).toEqual(["usage", [2, 1], null]);
  expect((await reconcile(raw({ chars: 6 }), null, null, null)).source).toBe("chunks");
  expect((await reconcile(raw(), usage(4), [], pairs)).disagreement).toBe(-4);
});

it("reads running usage per choice also while choices are level", async () => {
  const rows = raw(
    { chars: 1, usage: 1 },
    { chars: 1, usage: 1, choice: 1 },
    { chars: 1, usage: 2 },
  );
  expect([...(await reconcile(rows, usage(3), null, null)).tokens]).toEqual([1, 1, 1]);
});

it("takes running usage per choice when it falls between choices", async () => {
  const rows = raw(
    { chars: 1, usage: 3 },
    { chars: 1, usage: 1, choice: 1 },
    { chars: 1, usage: 4 },
  );
  expect([...(await reconcile(rows, usage(5), null, null)).tokens]).toEqual([3, 1, 1]);
});
