import { expect, test } from "vitest";
import { measureCommand, offeredBound } from "./command.ts";

const node = process.execPath;
const bound = offeredBound();

test("a command that ends is counted by its samples; its bound reaches it", async () => {
  const code = `
    if (!(Number(process.env.MILLRACE_CPUS) === 1)) process.exit(3);
    const end = Date.now() + 100; while (Date.now() < end);`;
  const rate = await measureCommand({ argv: [node, "-e", code], bound, count: { samples: 50 } }, 1);
  expect(rate).toBeGreaterThan(0);
  expect(rate).toBeLessThan(500);
});

test("one that goes on is counted by its output and stopped", async () => {
  const code = `let n = 0; setInterval(() => console.log("step", n += 10), 20)`;
  const rate = await measureCommand(
    { argv: [node, "-e", code], bound: "taskset", count: { pattern: /step (\d+)/, seconds: 0.8 } },
    1,
  );
  // How fast is the machine's matter: a busy one hands over several lines at once.
  expect(rate).toBeGreaterThan(0);
  expect(Number.isFinite(rate)).toBe(true);
});

test("failures name the command and what it said", async () => {
  const run = (argv: [string, ...string[]], pattern = /x(\d)/) =>
    measureCommand({ argv, bound: "taskset", count: { pattern, seconds: 5 } }, 1);
  await expect(
    run([node, "-e", "console.error('no data'); process.exit(4)"]),
  ).rejects.toMatchObject({
    message: expect.stringMatching(/exit code 4/),
    hint: expect.stringMatching(/no data/),
  });
  await expect(run([node, "-e", "console.log('x1')"])).rejects.toThrow(/fewer than two counts/);
  await expect(run(["no-such-program-here"])).rejects.toThrow(/exit code|cannot be started/);
});
