/**
 * The groups of a real v2 hierarchy: the core interface (members, children, killing, removal). Where the controllers that
 * bound CPUs and memory are mounted as v1, hugetlb is the one that v2 has; it stands for the others here.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { parseMounts } from "./cgroup.ts";
import { ControlGroup, type Controller } from "./control-group.ts";

const controllers = ["cpu", "hugetlb"] as readonly string[] as readonly Controller[];
const mount = parseMounts(readFileSync("/proc/self/mountinfo", "utf8")).find(
  ({ kind }) => kind === "v2",
);
/** Only the v2 part of this machine. */
const system = {
  cgroup: readFileSync("/proc/self/cgroup", "utf8"),
  mountinfo: readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .filter((line) => line.includes(" - cgroup2 "))
    .join("\n"),
};
const make = (name: string): ControlGroup | null => {
  for (const controller of controllers)
    try {
      return ControlGroup.make(name, [controller], system);
    } catch {
      // Not offered, or not ours to use.
    }
  return null;
};
const offered = ((): boolean => {
  const group = make(`millrace-v2-probe-${process.pid}`);
  group?.[Symbol.dispose]();
  return group !== null;
})();

/** Where the kernel put a group of this name. */
const folderOf = (pid: number): string => {
  const path = /^0::(.*)$/m.exec(readFileSync(`/proc/${pid}/cgroup`, "utf8"))?.[1] ?? "";
  return join(mount?.point ?? "", path);
};

it.runIf(offered)("holds all that a process starts, kills it at once, and goes", async () => {
  const name = `millrace-v2-test-${process.pid}`;
  const group = make(name);
  if (group === null) throw new Error("it was offered a moment ago");
  // It starts others without end, each in a session of its own, deaf to being asked.
  const loop = "trap '' TERM; while :; do setsid sleep 1000 & sleep 0.02; done";
  const child = spawn("sh", ["-c", `read go; ${loop}`], { stdio: ["pipe", "ignore", "ignore"] });
  const { pid } = child;
  if (pid === undefined) throw new Error("sh did not start");
  const ended = once(child, "exit");
  group.add(pid);
  const folder = folderOf(pid);
  expect(folder.endsWith(name)).toBe(true);
  const populated = () =>
    /^populated (\d)$/m.exec(readFileSync(join(folder, "cgroup.events"), "utf8"))?.[1];
  expect(group.members()).toEqual([pid]);
  child.stdin.write("go\n");
  await expect.poll(() => group.members().length).toBeGreaterThan(5);
  expect(group.members()).toContain(pid);
  // Whoever makes groups of its own inside is still held.
  const inner = join(folder, "inner");
  mkdirSync(inner);
  const moved = group.members().find((member) => member !== pid) as number;
  writeFileSync(join(inner, "cgroup.procs"), String(moved));
  expect(group.members()).toContain(moved);
  expect(populated()).toBe("1");
  group.kill();
  expect(await ended).toEqual([null, "SIGKILL"]);
  await expect.poll(() => populated()).toBe("0");
  expect(group.members()).toEqual([]);
  group[Symbol.dispose]();
  expect(existsSync(folder)).toBe(false);
});
