import { expect, it } from "vitest";
import { type ReadText, readLimits, usableMemoryBytes } from "./cgroup.ts";
import { machineTime, processCoreSeconds } from "./cpu-time.ts";
import { mappingCount, maxMappings, memoryRollup, residentMemory } from "./resident.ts";

const GiB = 2 ** 30;

function files(entries: Record<string, string>): ReadText {
  return (path) => entries[path] ?? null;
}

const v2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";

it("takes the least limit of a v2 group and those above it", () => {
  const limits = readLimits(
    files({
      "/proc/self/cgroup": "0::/work.slice/job\n",
      "/proc/self/mountinfo": v2,
      "/sys/fs/cgroup/work.slice/job/memory.max": "max\n",
      "/sys/fs/cgroup/work.slice/job/cpu.max": "max 100000\n",
      "/sys/fs/cgroup/work.slice/memory.max": `${4 * GiB}\n`,
      "/sys/fs/cgroup/work.slice/memory.current": `${GiB}\n`,
      "/sys/fs/cgroup/work.slice/cpu.max": "150000 100000\n",
    }),
    16 * GiB,
  );
  expect(limits).toEqual({
    cgroup: "v2",
    memoryLimitBytes: 4 * GiB,
    memoryUsedBytes: GiB,
    cpuQuota: 1.5,
    physicalBytes: 16 * GiB,
  });
  expect(usableMemoryBytes(limits)).toBe(4 * GiB);
});

it("reads v1, with a mount that shows a part of the tree", () => {
  const limits = readLimits(
    files({
      "/proc/self/cgroup": "4:memory:/docker/abc\n1:cpu,cpuacct:/docker/abc\n0::/\n",
      "/proc/self/mountinfo": `${v2}40 30 0:28 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory
41 30 0:29 / /sys/fs/cgroup/cpu\\040acct ro - cgroup cgroup rw,cpu,cpuacct\n`,
      "/sys/fs/cgroup/memory/memory.limit_in_bytes": `${2 * GiB}`,
      "/sys/fs/cgroup/memory/memory.usage_in_bytes": "1000",
      "/sys/fs/cgroup/cpu acct/docker/abc/cpu.cfs_quota_us": "50000",
      "/sys/fs/cgroup/cpu acct/docker/abc/cpu.cfs_period_us": "100000",
      "/sys/fs/cgroup/cpu acct/cpu.cfs_quota_us": "-1",
      "/sys/fs/cgroup/cpu acct/cpu.cfs_period_us": "100000",
    }),
    16 * GiB,
  );
  expect(limits).toMatchObject({
    cgroup: "v1",
    memoryLimitBytes: 2 * GiB,
    memoryUsedBytes: 1000,
    cpuQuota: 0.5,
  });
});

it("knows groups without limits and systems without groups", () => {
  const unlimited = readLimits(
    files({
      "/proc/self/cgroup": "4:memory:/\n",
      "/proc/self/mountinfo": "40 30 0:28 / /cg rw - cgroup cgroup rw,memory\n",
      "/cg/memory.limit_in_bytes": "9223372036854771712\n",
    }),
    GiB,
  );
  expect(unlimited).toMatchObject({ cgroup: "v1", memoryLimitBytes: null, cpuQuota: null });
  expect(readLimits(() => null, GiB)).toMatchObject({ cgroup: "none", memoryLimitBytes: null });
  expect(usableMemoryBytes(unlimited)).toBe(GiB);
});

it("reads the real system", () => {
  const limits = readLimits();
  expect(limits.physicalBytes).toBeGreaterThan(GiB / 4);
  expect(usableMemoryBytes()).toBeLessThanOrEqual(limits.physicalBytes);
  expect(residentMemory().anonymousBytes).toBeGreaterThan(1 << 20);
  if (process.platform === "linux") {
    expect(memoryRollup()?.residentBytes).toBeGreaterThan(1 << 20);
    expect(mappingCount()).toBeGreaterThan(10);
    expect(maxMappings()).toBeGreaterThan(1000);
  }
});

it.runIf(process.platform === "linux")("CPU time of processes and the machine goes on", () => {
  const own = processCoreSeconds(process.pid);
  const machine = machineTime();
  const began = process.cpuUsage();
  while (process.cpuUsage(began).user < 50_000);
  const later = machineTime();
  expect(processCoreSeconds(process.pid) - own).toBeGreaterThanOrEqual(0.03);
  expect((later?.busySeconds ?? 0) - (machine?.busySeconds ?? 0)).toBeGreaterThanOrEqual(0.03);
  expect(later?.busySeconds).toBeLessThanOrEqual(later?.allSeconds ?? 0);
  expect(processCoreSeconds(0x7fffffff)).toBe(0);
});
