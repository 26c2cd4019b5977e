/** `millrace cluster advise`: what jobs asked for against what they used, and the size that fits. Read-only. */
import type { SpeedProfile } from "@millrace/cluster";
import {
  type Advice,
  adviceOptions,
  advise,
  type ClusterAdvice,
  parseUse,
  type Replay,
  replay,
  type UseReport,
} from "@millrace/cluster/advise";
import { formatNumber, formatPercent, formatSeconds } from "@millrace/core";
import { readTextFile } from "@millrace/core/node";
import { type ClusterFlags, modelsOf, shapeOf } from "../../cluster/flags.ts";
import type { Session } from "../../session.ts";
import { table } from "../../ui/table.ts";

interface AdviseFlags extends ClusterFlags {
  readonly headroom?: number;
  readonly top?: number;
  readonly all?: boolean;
  readonly least?: number;
}

export async function clusterAdviseCommand(
  session: Session,
  path: string,
  given: Readonly<Record<string, unknown>>,
): Promise<number> {
  const flags = given as AdviseFlags;
  const report = parseUse(readTextFile(path), path);
  const advice = advise(report.jobs, {
    headroom: flags.headroom === undefined ? adviceOptions.headroom : flags.headroom / 100,
    all: flags.all ?? adviceOptions.all,
    leastSeconds: flags.least ?? adviceOptions.leastSeconds,
    profiles: profilesOf(flags),
  });
  const replayed = flags.servers === undefined ? null : replay(advice, shapeOf(flags));
  for (const { line, reason } of report.skipped.slice(0, 5))
    session.warn(`${path}:${line} is skipped: ${reason}`);
  if (report.skipped.length > 5)
    session.warn(`and ${report.skipped.length - 5} more lines are skipped`);
  if (session.json) session.printJson(jsonOf(report, advice, replayed));
  else print(session, report, advice, replayed, flags);
  return 0;
}

function profilesOf(flags: AdviseFlags): ReadonlyMap<string, SpeedProfile> {
  if (flags.profiles === undefined) return new Map();
  return new Map([...modelsOf(flags)].map(([name, { profile }]) => [name, profile]));
}

function print(
  session: Session,
  report: UseReport,
  advice: ClusterAdvice,
  replayed: Replay | null,
  { top = 20, servers }: AdviseFlags,
): void {
  if (advice.kinds.length === 0) {
    session.print(
      advice.withoutGpus > 0
        ? `none of the ${advice.withoutGpus} jobs has GPUs; --all looks at them too`
        : "no job ran for long enough to say anything",
    );
    return;
  }
  const right = (title: string, drop?: number) =>
    ({ title, align: "right", ...(drop === undefined ? {} : { drop }) }) as const;
  const shown = advice.kinds.slice(0, top);
  session.print(
    table(
      [
        { title: "job", least: 12 },
        { title: "owner", least: 6, drop: 4 },
        right("runs", 5),
        right("GPUs"),
        right("GPU busy", 3),
        right("CPUs held"),
        right("used", 1),
        right("ask"),
        right("memory held", 2),
        right("used", 6),
        right("ask", 2),
        right("time now"),
        right("then"),
        { title: "why", least: 20 },
      ],
      shown.map(rowOf),
      session,
    ),
  );
  if (advice.kinds.length > top)
    session.print(`  … and ${advice.kinds.length - top} more; --top shows them`);
  session.print(summaryLines(advice, replayed));
  if (servers !== undefined && replayed === null)
    session.note("no job could be replayed: a time of submission and a request are needed");
  const left = [
    advice.withoutGpus > 0 ? `${advice.withoutGpus} without GPUs (--all)` : "",
    advice.tooShort > 0 ? `${advice.tooShort} too short` : "",
  ].filter((part) => part !== "");
  if (left.length > 0) session.note(`left out: ${left.join(", ")}`);
  if (report.source === "sacct")
    session.note(
      "sacct keeps means, which hide bursts, and memory without the page cache; --headroom is on top of them",
    );
}

function rowOf(advice: Advice): readonly string[] {
  const { kind, cpusToAsk, rightBytes, secondsNow, secondsLow, secondsHigh } = advice;
  const number = (value: number | null) => (value === null ? "–" : formatNumber(value));
  // Requests are written in binary units on both systems.
  const bytes = (value: number | null) =>
    value === null ? "–" : `${formatNumber(value / 2 ** 30)} GiB`;
  const marked = (value: string, changed: boolean) => (changed ? value : "=");
  const then =
    Math.abs(secondsHigh - secondsLow) < 0.01 * secondsNow
      ? formatSeconds(secondsHigh)
      : `${formatSeconds(secondsLow)} … ${formatSeconds(secondsHigh)}`;
  const asksCpus = cpusToAsk !== null && cpusToAsk !== kind.heldCpus;
  const asksBytes = rightBytes !== null && rightBytes !== kind.heldBytes;
  return [
    kind.name,
    kind.owner,
    String(kind.jobs.length),
    number(kind.gpus),
    kind.gpuBusy === null ? "–" : formatPercent(kind.gpuBusy),
    number(kind.heldCpus),
    number(kind.highCpus),
    cpusToAsk === null ? "–" : marked(number(cpusToAsk), asksCpus),
    bytes(kind.heldBytes),
    bytes(kind.peakBytes),
    rightBytes === null ? "–" : marked(bytes(rightBytes), asksBytes),
    formatSeconds(secondsNow),
    Math.abs(secondsLow - secondsNow) < 1e-6 && secondsHigh === secondsNow ? "=" : then,
    whyOf(advice),
  ];
}

function whyOf({ cpus, memory, kind, profiled, rightCpus, cpusToAsk }: Advice): string {
  const parts: string[] = [];
  if (cpus === "short" && kind.limitCpus === null) parts.push("uses more CPUs than it asks for");
  else if (cpus === "short")
    parts.push(profiled ? "short of CPUs, by its profile" : "short of CPUs");
  else if (cpus === "idle") parts.push("CPUs idle");
  else if (cpus === "unknown")
    parts.push(kind.jobs.every((j) => j.running) ? "no CPU times yet" : "no CPU times");
  if (cpus === "short" && rightCpus !== null && cpusToAsk !== null && cpusToAsk < rightCpus)
    parts.push(`would take ${formatNumber(rightCpus)}`);
  if (kind.exhausted > 0) parts.push("ran out of memory");
  else if (memory === "short") parts.push("memory nearly full");
  else if (memory === "idle") parts.push("memory idle");
  if (parts.length === 0) return "fits";
  return parts.join(", ");
}

function summaryLines(advice: ClusterAdvice, replayed: Replay | null): readonly string[] {
  const { cpuHours: cpu, byteHours: memory, gpuHours, gpuHoursLow, gpuHoursHigh } = advice;
  const hours = formatNumber;
  const lines = [
    "",
    `  jobs      ${advice.jobs} of ${advice.kinds.length} kinds, ${hours(gpuHours)} GPU hours`,
  ];
  if (cpu.held > 0)
    lines.push(
      `  CPUs      ${hours(cpu.held)} core hours held, ${formatPercent(cpu.used / cpu.held)} used; the advice holds ${hours(cpu.right)}`,
    );
  if (memory.held > 0)
    lines.push(
      `  memory    ${formatPercent(memory.used / memory.held)} of what is held was used at the peak; the advice holds ${formatPercent(memory.right / memory.held)}`,
    );
  if (advice.wantedCpuHours > 0)
    lines.push(
      `  short     wants ${hours(advice.wantedCpuHours)} core hours more; what is idle frees ${hours(advice.freedCpuHours)}`,
    );
  if (gpuHoursLow < gpuHours * 0.999 || gpuHoursHigh > gpuHours * 1.001)
    lines.push(
      `  run time  the same work takes ${rangeOf(gpuHoursLow, gpuHoursHigh)} GPU hours: ${rangeOf(gpuHours / gpuHoursHigh, gpuHours / gpuHoursLow)} times as fast`,
    );
  if (replayed !== null)
    lines.push(
      `  replayed  ${replayed.jobs} jobs, mean time from submission to end ${hours(replayed.asRequested)} h as requested, ${rangeOf(replayed.advisedBest, replayed.advisedWorst)} h by the advice${replayed.leftOut > 0 ? `; ${replayed.leftOut} jobs left out` : ""}`,
    );
  return lines;
}

function rangeOf(low: number, high: number): string {
  const [a, b] = [formatNumber(low), formatNumber(high)];
  return a === b ? a : `${a} … ${b}`;
}

function jsonOf(report: UseReport, advice: ClusterAdvice, replayed: Replay | null): object {
  const { kinds, ...totals } = advice;
  return {
    schema: "millrace.cluster-advise/1",
    source: report.source,
    skipped: report.skipped,
    ...totals,
    replay: replayed,
    kinds: kinds.map(({ kind, timeWith: _, ...sized }) => {
      const { jobs, ...use } = kind;
      return { ...use, ids: jobs.map((job) => job.id), ...sized };
    }),
  };
}
