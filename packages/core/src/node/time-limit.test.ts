import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, test } from "vitest";
import { TimeLimit } from "./time-limit.ts";

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

/** Only whoever listens knows the signal, as with a request that hangs. */
function reasonOf(limit: TimeLimit): Promise<unknown> {
  const { signal } = limit;
  return new Promise((resolve) => {
    signal.addEventListener("abort", () => resolve(signal.reason), { once: true });
  });
}

test("it aborts after its time although memory is collected meanwhile", async () => {
  const reason = reasonOf(new TimeLimit(20, new AbortController().signal));
  for (let i = 0; i < 3; i++) collectGarbage();
  expect(await reason).toMatchObject({ name: "TimeoutError" });
});

test("the outer signal's reason comes first, also when it had aborted before", async () => {
  const outer = new AbortController();
  using limit = new TimeLimit(60_000, outer.signal);
  const reason = reasonOf(limit);
  outer.abort("enough");
  expect(await reason).toBe("enough");
  using late = new TimeLimit(60_000, outer.signal);
  expect(late.signal.reason).toBe("enough");
});

test("once disposed it stays silent and leaves nothing at the outer signal", () => {
  const outer = new AbortController();
  const limit = new TimeLimit(1, outer.signal);
  limit[Symbol.dispose]();
  outer.abort();
  expect(limit.signal.aborted).toBe(false);
});
