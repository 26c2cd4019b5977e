import { createParser } from "eventsource-parser";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { SseParser } from "./sse-parser.ts";

function ours(pieces: readonly Buffer[]): [string, string][] {
  const events: [string, string][] = [];
  const parser = new SseParser({ event: (t, d) => events.push([t, d]), stray: () => {} });
  for (const piece of pieces) parser.push(piece);
  return events;
}

function oracle(text: string): [string, string][] {
  const events: [string, string][] = [];
  const parser = createParser({ onEvent: (e) => events.push([e.event ?? "", e.data]) });
  parser.feed(text);
  return events;
}

function cut(bytes: Buffer, places: readonly number[]): Buffer[] {
  const at = [...new Set(places.map((p) => p % (bytes.length + 1)))].sort((a, b) => a - b);
  const pieces: Buffer[] = [];
  let from = 0;
  for (const to of [...at, bytes.length]) {
    pieces.push(bytes.subarray(from, to));
    from = to;
  }
  return pieces;
}

describe("SseParser", () => {
  it("agrees with eventsource-parser however the bytes are cut", () => {
    const line = fc.constantFrom(
      "data: one",
      "data:two",
      "data:  three",
      "data: gr\u00fc\u00dfe \ud83d\ude00",
      "data: a\u2028b",
      "event: ping",
      ": comment",
      ":",
      "id: 7",
      "",
      "",
      "unknown: x",
    );
    const ending = fc.constantFrom("\n", "\r\n", "\r");
    fc.assert(
      fc.property(
        fc.array(line, { maxLength: 20 }),
        ending,
        fc.boolean(),
        fc.array(fc.nat(400), { maxLength: 12 }),
        (lines, end, bom, places) => {
          const text = `${bom ? "\ufeff" : ""}${lines.map((l) => l + end).join("")}data: last\n\n`;
          expect(ours(cut(Buffer.from(text), places))).toEqual(oracle(text));
        },
      ),
      { numRuns: 500 },
    );
  });

  it("gives out an event that the end of the body cuts off, and says so", () => {
    const events: string[] = [];
    const parser = new SseParser({ event: (_, d) => events.push(d), stray: () => {} });
    parser.push(Buffer.from("data: [DONE]"));
    expect(events).toEqual([]);
    expect(parser.end()).toBe(true);
    expect(events).toEqual(["[DONE]"]);
  });

  it("notices text that is not UTF-8, and only that", () => {
    const parser = new SseParser({ event: () => {}, stray: () => {} });
    parser.push(Buffer.from("data: \ufffd\n\n"));
    expect(parser.badUtf8).toBe(false);
    parser.push(Buffer.concat([Buffer.from("data: "), Buffer.of(0xff), Buffer.from("\n\n")]));
    expect(parser.badUtf8).toBe(true);
  });
});
