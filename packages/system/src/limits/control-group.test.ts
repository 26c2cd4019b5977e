import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { afterAll, describe, expect, it } from "vitest";
import { identify, isRunning } from "../processes/process.ts";
import {
  blockDeviceOf,
  ControlGroup,
  type Controller,
  controllersOffered,
} from "./control-group.ts";
import { dropFilePages, storageBytesRead } from "./page-cache.ts";

const dir = mkdtempSync(join(tmpdir(), "millrace-groups-"));
afterAll(() => rmSync(dir, { recursive: true }));

/** Folders that look like a mounted hierarchy; the kernel's files are plain ones. */
function tree(name: string, files: Readonly<Record<string, string>>): string {
  const root = join(dir, name);
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(join(root, path, ".."), { recursive: true });
    writeFileSync(join(root, path), text);
  }
  return root;
}

/** What a process in `group` reads of itself where a v2 hierarchy is mounted at `root`. */
function mounted(root: string, group: string) {
  return {
    cgroup: `0::${group}\n`,
    mountinfo: `30 23 0:26 / ${root} rw - cgroup2 cgroup2 rw\n`,
  };
}

it("speaks the language of v2, in the nearest group that may hand the controllers down", () => {
  const root = tree("v2", {
    "cgroup.controllers": "cpu io memory",
    "cgroup.subtree_control": "cpu",
    "job/cgroup.controllers": "cpu",
    "job/cgroup.procs": "",
    "mine/memory.current": "4000\n",
  });
  const system = mounted(root, "/job");
  expect(controllersOffered(system)).toEqual({ memory: "v2", cpu: "v2", io: "v2" });
  const group = ControlGroup.make("mine", ["memory", "io"], system);
  const text = (file: string) => readFileSync(join(root, "mine", file), "utf8");
  group.limitMemory(1e9);
  expect(text("memory.max")).toBe("1000000000");
  group.limitMemory(null);
  expect(text("memory.max")).toBe("max");
  group.limitReads("8:0", { bytesPerSecond: 6e7 });
  expect(text("io.max")).toBe("8:0 rbps=60000000 riops=max");
  group.limitReads("8:0", null);
  expect(text("io.max")).toBe("8:0 rbps=max riops=max");
  writeFileSync(join(root, "mine/memory.max"), "5000\n");
  writeFileSync(join(root, "mine/memory.stat"), "anon 1000\nfile 3000\n");
  expect(group.memory()).toEqual({ usedBytes: 4000, cacheBytes: 3000, limitBytes: 5000 });
  writeFileSync(join(root, "mine/io.stat"), "8:0 rbytes=70 wbytes=1 rios=7 wios=1\n");
  expect(group.reads("8:0")).toEqual({ bytes: 70, operations: 7 });
  expect(group.reads("8:1")).toEqual({ bytes: 0, operations: 0 });
  expect(() => group.limitCpus(1)).toThrow(/no controller cpu/);
});

it("puts the controllers of v2 in one group: a process is in one only", () => {
  const root = tree("v2-one", {
    "cgroup.controllers": "cpu memory",
    "cgroup.subtree_control": "cpu memory",
    "user/cgroup.controllers": "memory",
    "user/cgroup.subtree_control": "memory",
  });
  const system = mounted(root, "/user");
  ControlGroup.make("bounded", ["cpu", "memory"], system).add(123);
  expect(readFileSync(join(root, "bounded/cgroup.procs"), "utf8")).toBe("123");
  expect(existsSync(join(root, "user/bounded"))).toBe(false);
  ControlGroup.make("light", ["memory"], system);
  expect(existsSync(join(root, "user/light"))).toBe(true);
});

it("never sets a bound of v2 below what stays in use: the kernel would kill for it", () => {
  const root = tree("v2-kill", {
    "cgroup.controllers": "memory",
    "cgroup.subtree_control": "memory",
    "mine/memory.current": "5000\n",
    "mine/memory.max": "9000\n",
    "mine/memory.high": "max\n",
  });
  const system = mounted(root, "/");
  const group = ControlGroup.make("mine", ["memory"], system);
  expect(() => group.limitMemory(4000)).toThrow(
    expect.objectContaining({
      code: "SYSTEM_CALL_FAILED",
      message: expect.stringMatching(/4000 bytes: 5000 stay in use/),
    }),
  );
  const text = (file: string) => readFileSync(join(root, "mine", file), "utf8").trim();
  expect(text("memory.max")).toBe("9000");
  expect(text("memory.high")).toBe("max");
  group.limitMemory(6000);
  expect(text("memory.max")).toBe("6000");
});

it("speaks the language of v1", () => {
  const root = tree("v1", { "memory/a/cgroup.procs": "", "blkio/cgroup.procs": "", "cpu/x": "" });
  const mount = (id: number, name: string) =>
    `${id} 23 0:${id} / ${join(root, name)} rw - cgroup cgroup rw,${name}\n`;
  const system = {
    cgroup: "4:memory:/a\n3:blkio:/\n2:cpu:/\n0::/\n",
    mountinfo: mount(40, "memory") + mount(41, "blkio") + mount(42, "cpu"),
  };
  const group = ControlGroup.make("mine", ["memory", "io", "cpu"], system);
  const text = (file: string) => readFileSync(join(root, file), "utf8");
  group.add(123);
  expect(text("memory/a/mine/cgroup.procs")).toBe("123");
  expect(text("blkio/mine/cgroup.procs")).toBe("123");
  group.limitMemory(4096);
  expect(text("memory/a/mine/memory.limit_in_bytes")).toBe("4096");
  group.limitCpus(1.5);
  expect(text("cpu/mine/cpu.cfs_quota_us")).toBe("150000");
  group.limitReads("8:0", { operationsPerSecond: 150 });
  expect(text("blkio/mine/blkio.throttle.read_bps_device")).toBe("8:0 0");
  expect(text("blkio/mine/blkio.throttle.read_iops_device")).toBe("8:0 150");
});

it("says what is missing where there are no groups", () => {
  const system = { cgroup: "0::/\n", mountinfo: "" };
  expect(controllersOffered(system)).toEqual({ memory: null, cpu: null, io: null });
  expect(() => ControlGroup.make("mine", ["memory"], system)).toThrow(
    expect.objectContaining({ code: "ENVIRONMENT_MISSING" }),
  );
});

/** Whether this machine lets us make groups; containers mostly do not. */
function allowed(...controllers: readonly Controller[]): boolean {
  try {
    ControlGroup.make(`millrace-probe-${process.pid}`, controllers)[Symbol.dispose]();
    return true;
  } catch {
    return false;
  }
}

it.runIf(allowed("memory", "io"))(
  "bounds the page cache and the storage reads of a real process",
  async () => {
    const device = blockDeviceOf(dir);
    const file = join(dir, "bytes");
    writeFileSync(file, Buffer.alloc(24 << 20, 7), { flush: true });
    dropFilePages([file]);
    using group = ControlGroup.make(`millrace-test-${process.pid}`, ["memory", "io"]);
    // A shell, since a Node process alone would need more memory than the bound; it waits until it is in the group.
    const child = spawn("sh", ["-c", `read go; cat "${file}" "${file}" > /dev/null`], {
      stdio: ["pipe", "ignore", "inherit"],
    });
    const { pid } = child;
    if (pid === undefined) throw new Error("sh did not start");
    group.add(pid);
    group.limitMemory(group.memory().usedBytes + (8 << 20));
    if (device !== null) group.limitReads(device, { bytesPerSecond: 2e9 });
    child.stdin.write("go\n");
    expect(await once(child, "close")).toEqual([0, null]);
    expect(group.memory().limitBytes).toBeLessThan(1 << 30);
    // A scan of three times the page cache hits nothing the second time; some pages may be charged elsewhere.
    if (device !== null) expect(group.reads(device).bytes).toBeGreaterThan(36 << 20);
    expect(storageBytesRead()).toBeGreaterThanOrEqual(0);
    const { name } = group;
    group[Symbol.dispose]();
    expect(existsSync(`/sys/fs/cgroup/memory/${name}`)).toBe(false);
  },
);

describe.runIf(allowed())("a group of a mounted v2", () => {
  /** A shell whose child leaves its session, as a daemon does; says the child's number. */
  async function pair(group: ControlGroup): Promise<{ leader: number; stray: number }> {
    const child = spawn("sh", ["-c", "read go; setsid sleep 1000 & echo $!; wait"], {
      stdio: ["pipe", "pipe", "inherit"],
      detached: true,
    });
    const { pid } = child;
    if (pid === undefined) throw new Error("sh did not start");
    group.add(pid);
    child.stdin.write("go\n");
    const [line] = (await once(child.stdout, "data")) as [Buffer];
    return { leader: pid, stray: Number(String(line)) };
  }

  const gone = async (pid: number): Promise<void> => {
    const who = identify(pid);
    while (who !== null && isRunning(who)) await setTimeout(5);
  };

  it("holds what a process starts, also what leaves its session, and kills all of it", async () => {
    const group = ControlGroup.make(`millrace-test-v2-${process.pid}`, []);
    const { leader, stray } = await pair(group);
    expect(new Set(group.members())).toEqual(new Set([leader, stray]));
    // Another process of this name opens the same group: that is how a later scheduler comes by it.
    expect(new Set(ControlGroup.make(group.name, []).members())).toEqual(new Set([leader, stray]));
    // What makes a group of its own inside is still held.
    const inner = join(folderOf(group.name) ?? "", "inner");
    mkdirSync(inner);
    writeFileSync(join(inner, "cgroup.procs"), String(stray));
    expect(new Set(group.members())).toEqual(new Set([leader, stray]));
    group.kill();
    await Promise.all([gone(leader), gone(stray)]);
    expect(group.members()).toEqual([]);
    group[Symbol.dispose]();
    expect(folderOf(group.name)).toBeNull();
  });

  it("gives back what still runs in it when it is given up", async () => {
    const group = ControlGroup.make(`millrace-test-v2-${process.pid}`, []);
    const { leader, stray } = await pair(group);
    const own = /^0::(.*)$/m;
    const groupOf = (pid: number | "self") =>
      own.exec(readFileSync(`/proc/${pid}/cgroup`, "utf8"))?.[1];
    expect(groupOf(stray)).toMatch(new RegExp(`/${group.name}$`));
    group[Symbol.dispose]();
    expect(groupOf(leader)).toBe(groupOf("self"));
    expect(groupOf(stray)).toBe(groupOf("self"));
    expect(folderOf(group.name)).toBeNull();
    process.kill(leader, "SIGKILL");
    process.kill(stray, "SIGKILL");
    await Promise.all([gone(leader), gone(stray)]);
  });

  /** The folder of a group below this process's own, by the kernel's list of mounts. */
  function folderOf(name: string): string | null {
    const point = /^\S+ \S+ \S+ \S+ (\S+) .* - cgroup2 /m.exec(
      readFileSync("/proc/self/mountinfo", "utf8"),
    )?.[1];
    const path = /^0::(.*)$/m.exec(readFileSync("/proc/self/cgroup", "utf8"))?.[1] ?? "";
    const folder = join(point ?? "/sys/fs/cgroup", path, name);
    return existsSync(folder) ? folder : null;
  }
});
