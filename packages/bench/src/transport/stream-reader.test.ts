import { describe, expect, it } from "vitest";
import { StreamReader } from "./stream-reader.ts";

function read(...events: readonly (string | object)[]): StreamReader {
  const reader = new StreamReader(true);
  events.forEach((event, i) => {
    const data = typeof event === "string" ? event : `data: ${JSON.stringify(event)}\n\n`;
    reader.push(Buffer.from(data), (i + 1) * 100);
  });
  reader.end((events.length + 1) * 100);
  return reader;
}

const delta = (fields: object, finish: string | null = null, index = 0): object => ({
  choices: [{ index, delta: fields, finish_reason: finish }],
});

describe("StreamReader", () => {
  it("takes no role-only or empty chunk for a token", () => {
    const reader = read(
      delta({ role: "assistant", content: "" }),
      delta({ content: "a" }),
      delta({}, "stop"),
    );
    expect(reader.rows.seal().timeUs).toEqual(Float64Array.of(200));
    expect([reader.firstEventUs, reader.firstTokenUs, reader.finished]).toEqual([100, 200, true]);
  });

  it("tells reasoning, tool calls and content apart, once each", () => {
    const reader = read(
      delta({ reasoning: "x", reasoning_content: "x" }),
      delta({ tool_calls: [{ function: { name: "f", arguments: "{}" } }] }),
      delta({ content: "hi" }, "stop"),
    );
    const rows = reader.rows.seal();
    expect([...rows.kind]).toEqual([1, 2, 0]);
    expect([...rows.chars]).toEqual([1, 3, 2]);
    expect([reader.firstTokenUs, reader.firstContentUs]).toEqual([100, 300]);
  });

  it("keeps token ids, cumulative usage and the choices of each row", () => {
    const reader = read(
      { choices: [{ index: 1, text: "ab", token_ids: [1, 2] }], usage: { completion_tokens: 2 } },
      { choices: [{ index: 0, text: "", token_ids: [3] }], usage: { completion_tokens: 1 } },
      { choices: [], usage: { prompt_tokens: 9, completion_tokens: 3 } },
    );
    const rows = reader.rows.seal();
    expect([...(rows.ids ?? [])]).toEqual([2, 1]);
    expect([...(rows.usage ?? [])]).toEqual([2, 1]);
    expect([...rows.choice]).toEqual([1, 0]);
    expect(reader.usage?.completionTokens).toBe(3);
    expect(reader.finished).toBe(false);
  });

  it("names failures inside a stream whatever came before", () => {
    const text = delta({ content: "a" });
    expect(read(text, { error: { message: "boom", code: null } }).failure?.message).toBe("boom");
    expect(read(text, "event: error\ndata: gone\n\n").failure?.class).toBe("error-event");
    expect(read(text, "data: <html>\n\n").failure?.class).toBe("protocol");
    expect(read('{"id":1}').failure?.class).toBe("protocol");
  });

  it("counts keep-alives that are sent as data, and data after the end", () => {
    const reader = read(
      "data: : keepalive\n\n",
      "data:\n\n",
      "data:[DONE]\n\n",
      delta({ content: "x" }),
    );
    expect(reader.failure).toBeNull();
    expect([...reader.warnings]).toEqual(["data-keep-alive", "data-after-done"]);
    expect(reader.rows.length).toBe(0);
  });
});
