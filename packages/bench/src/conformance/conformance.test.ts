import { expect, test } from "vitest";
import { runScript } from "./run-script.ts";
import { streamScripts } from "./scripts.ts";

test("the suite has at least thirty scripts, each with a name of its own", () => {
  expect(new Set(streamScripts.map(({ name }) => name)).size).toBe(streamScripts.length);
  expect(streamScripts.length).toBeGreaterThanOrEqual(30);
});

test.each(streamScripts.map((script) => [script.name, script] as const))(
  "%s",
  async (_, script) => {
    const { differences } = await runScript(script);
    expect(differences).toEqual([]);
  },
);

test("a client that is wrong is found out", async () => {
  const [plain] = streamScripts;
  if (plain === undefined) throw new Error("no script");
  const wrong = { ...plain, expected: { ...plain.expected, tokens: 4, finish: ["stop"] } };
  const { differences } = await runScript(wrong);
  expect(differences.map(({ key }) => key)).toEqual(["tokens", "finish"]);
});
