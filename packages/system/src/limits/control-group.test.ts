import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { blockDeviceOf, ControlGroup, controllersOffered } from "./control-group.ts";
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

it("speaks the language of v2, in the nearest group that may hand the controllers down", () => {
  const root = tree("v2", {
    "cgroup.controllers": "cpu io memory",
    "cgroup.subtree_control": "cpu",
    "job/cgroup.controllers": "cpu",
    "job/cgroup.procs": "",
  });
  const system = {
    cgroup: "0::/job\n",
    mountinfo: `30 23 0:26 / ${root} rw - cgroup2 cgroup2 rw\n`,
  };
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
  writeFileSync(join(root, "mine/memory.current"), "4000\n");
  writeFileSync(join(root, "mine/memory.stat"), "anon 1000\nfile 3000\n");
  expect(group.memory()).toEqual({ usedBytes: 4000, cacheBytes: 3000, limitBytes: 5000 });
  writeFileSync(join(root, "mine/io.stat"), "8:0 rbytes=70 wbytes=1 rios=7 wios=1\n");
  expect(group.reads("8:0")).toEqual({ bytes: 70, operations: 7 });
  expect(group.reads("8:1")).toEqual({ bytes: 0, operations: 0 });
  expect(() => group.limitCpus(1)).toThrow(/no controller cpu/);
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
function allowed(): boolean {
  try {
    ControlGroup.make(`millrace-probe-${process.pid}`, ["memory", "io"])[Symbol.dispose]();
    return true;
  } catch {
    return false;
  }
}

it.runIf(allowed())("bounds the page cache and the storage reads of a real process", async () => {
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
});
