import { expect, test } from "vitest";
import { ChromeTraceWriter } from "./chrome-trace.ts";

interface Event {
  readonly ph: string;
  readonly name: string;
  readonly ts?: number;
  readonly dur?: number;
  readonly id?: string;
  readonly args?: Record<string, unknown>;
}

test("an empty trace is valid JSON", () => {
  let text = "";
  new ChromeTraceWriter((chunk) => {
    text += chunk;
  }).end();
  expect(JSON.parse(text).traceEvents).toEqual([]);
});

test("every kind of event, in microseconds, with names that need escaping", () => {
  let text = "";
  const trace = new ChromeTraceWriter((chunk) => {
    text += chunk;
  });
  trace.processName(1, 'replica "0"');
  trace.threadName(1, 2, "steps\n");
  trace.complete("step", 1, 2, 0.5, 0.000_000_5, { tokens: 12, odd: Number.NaN });
  trace.counter("kv", 1, 1, { bytes: 5 });
  trace.asyncBegin("request", 7, "r7", 1, 0.25);
  trace.asyncInstant("request", 7, "first token", 1, 0.75, {});
  trace.asyncEnd("request", 7, "r7", 1, 1);
  trace.flowStart("move", "a", "hop", 1, 2, 0.1);
  trace.flowStep("move", "a", "hop", 1, 2, 0.15);
  trace.flowEnd("move", "a", "hop", 2, 2, 0.2);
  trace.end();
  const events = JSON.parse(text).traceEvents as Event[];
  expect(events.map((e) => e.ph).join("")).toBe("MMXCbnestf");
  expect(events[0]?.args).toEqual({ name: 'replica "0"' });
  expect(events[2]).toMatchObject({ ts: 500_000, dur: 0.5, args: { tokens: 12, odd: null } });
  expect(events[4]).toMatchObject({ id: "7", ts: 250_000 });
  expect(() => trace.end()).toThrow(/ended/);
});

test("long traces come in chunks of bounded size", () => {
  const chunks: string[] = [];
  const trace = new ChromeTraceWriter((chunk) => chunks.push(chunk));
  for (let i = 0; i < 5000; i++) trace.complete(`e${i}`, 0, 0, i, 0.5);
  trace.end();
  expect(chunks.length).toBeGreaterThan(3);
  for (const chunk of chunks) expect(chunk.length).toBeLessThan(66_000);
  expect(JSON.parse(chunks.join("")).traceEvents).toHaveLength(5000);
});
