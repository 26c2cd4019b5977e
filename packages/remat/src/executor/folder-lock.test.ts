import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { lockFolder } from "./folder-lock.ts";

const program = fileURLToPath(new URL("./folder-lock.conformance.ts", import.meta.url));

async function start(): Promise<ChildProcess> {
  const child = fork(program, [], {
    execArgv: ["--conditions=millrace:source", "--import", "tsx"],
  });
  await once(child, "message");
  return child;
}

async function takes(child: ChildProcess, dir: string): Promise<unknown> {
  child.send(dir);
  return (await once(child, "message"))[0];
}

test("of many processes that find the lock of one that is gone, one takes it over", async () => {
  const folder = mkdtempSync(join(tmpdir(), "remat-lock-"));
  const children = await Promise.all(Array.from({ length: 6 }, start));
  try {
    const [first, ...others] = children as [ChildProcess, ...ChildProcess[]];
    const left = join(folder, "left");
    expect(await takes(first, left)).toBe(true);
    expect(() => lockFolder(left)).toThrow(`process ${first.pid} is writing checkpoints`);
    const gone = once(first, "close");
    first.kill("SIGKILL");
    await gone;
    for (let round = 0; round < 200; round++) {
      const dir = join(folder, String(round));
      mkdirSync(dir);
      copyFileSync(join(left, "run.lock"), join(dir, "run.lock"));
      // Some were taken over halfway, by a process that is gone as well.
      if (round % 2 === 1) copyFileSync(join(left, "run.lock"), join(dir, "run.lock.claim"));
      const taken = await Promise.all(others.map((child) => takes(child, dir)));
      expect(taken.filter(Boolean)).toEqual([true]);
      expect(readdirSync(dir)).toEqual(["run.lock"]);
    }
  } finally {
    for (const child of children) child.kill("SIGKILL");
    rmSync(folder, { recursive: true, force: true });
  }
});
