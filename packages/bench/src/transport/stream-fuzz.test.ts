import fc from "fast-check";
import { expect, test } from "vitest";
import { streamScripts } from "../conformance/scripts.ts";
import { StreamReader } from "./stream-reader.ts";

/** What a reader knows when the bytes are over; times follow the pieces, so they are left out. */
function readAll(pieces: readonly Buffer[]): unknown {
  const reader = new StreamReader(true);
  for (const [i, piece] of pieces.entries()) reader.push(piece, i);
  reader.end(pieces.length);
  const { ids, logprobs, usage, chars, choice, kind } = reader.rows.seal();
  return {
    ...{ ids, logprobs, usage, chars, choice, kind, text: reader.text, finish: reader.finish },
    ...{ usage: reader.usage, done: reader.done, failure: reader.failure },
    warnings: [...reader.warnings].sort(),
  };
}

const bodies = streamScripts.map(({ acts }) =>
  Buffer.concat(
    acts
      .filter((act) => Buffer.isBuffer(act) || (typeof act === "string" && !/^[A-Z]+$/.test(act)))
      .map((act) => Buffer.from(act as string)),
  ),
);

test("the cuts between reads change nothing", () => {
  fc.assert(
    fc.property(
      fc.nat(bodies.length - 1),
      fc.array(fc.nat(2000), { maxLength: 20 }),
      (which, cuts) => {
        const body = bodies[which] as Buffer;
        const at = [0, ...cuts.map((cut) => cut % (body.length + 1)), body.length].sort(
          (a, b) => a - b,
        );
        const pieces = at.slice(1).map((end, i) => body.subarray(at[i], end));
        expect(readAll(pieces)).toEqual(readAll([body]));
      },
    ),
    { numRuns: 500 },
  );
});

test("no bytes make it throw or lose the account of what it read", () => {
  const noise = fc.oneof(
    fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
    fc.string({ unit: "binary", maxLength: 200 }).map((text) => Buffer.from(`data: ${text}\n\n`)),
    fc.json().map((text) => Buffer.from(`data: ${text}\n\n`)),
    fc
      .json()
      .map((text) =>
        Buffer.from(`data: {"choices":[${text}],"usage":${text},"timings":${text}}\n\n`),
      ),
    fc.constantFrom(...bodies),
  );
  fc.assert(
    fc.property(fc.array(noise, { maxLength: 6 }), (pieces) => {
      const reader = new StreamReader(true);
      for (const piece of pieces) reader.push(piece, 1);
      reader.end(2);
      const raw = reader.rows.seal();
      const shown = raw.chars.reduce((a, b) => a + b, 0);
      expect(reader.text.reduce((n, text) => n + (text?.length ?? 0), 0)).toBe(shown);
    }),
    { numRuns: 500 },
  );
});
