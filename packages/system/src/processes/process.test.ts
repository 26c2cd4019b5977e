import { spawn } from "node:child_process";
import { once } from "node:events";
import { expect, test } from "vitest";
import {
  identify,
  isRunning,
  processesOfSessions,
  processStat,
  signalProcess,
  userOf,
} from "./process.ts";

test("a process is known by more than its number", async () => {
  const child = spawn(process.execPath, ["-e", "process.stdin.resume()"], {
    argv0: "a name) with (parentheses",
    detached: true,
    stdio: ["pipe", "ignore", "inherit"],
  });
  const pid = child.pid ?? 0;
  const identity = identify(pid);
  if (identity === null) throw new Error("it did not start");
  expect(isRunning(identity)).toBe(true);
  expect(processStat(pid)).toMatchObject({ parent: process.pid, session: pid, group: pid });
  expect(userOf(pid)).toBe(process.getuid?.());
  expect([...processesOfSessions(new Set([pid])).keys()]).toEqual([pid]);
  const earlier = { ...identity, startTicks: identity.startTicks - 1 };
  const before = { ...identity, boot: "another start of the machine" };
  for (const other of [earlier, before]) {
    expect(isRunning(other)).toBe(false);
    expect(signalProcess(other, "SIGKILL")).toBe(false);
  }
  expect(signalProcess(identity, "SIGKILL", 1 + (process.getuid?.() ?? 0))).toBe(false);
  expect(signalProcess(identity, "SIGTERM", process.getuid?.() ?? null)).toBe(true);
  expect(await once(child, "exit")).toEqual([null, "SIGTERM"]);
  expect(isRunning(identity)).toBe(false);
  expect(identify(pid)).toBe(null);
});
