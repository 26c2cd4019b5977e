/**
 * Reads what `sacct --parsable2` prints, in any order of columns and with any delimiter: a row per job, and rows of its
 * steps, which carry the memory that was used.
 */
import { MillraceError } from "@millrace/core";
import {
  gresGpus,
  slurmBytes,
  slurmSeconds,
  slurmTime,
  slurmTres,
  tresGpus,
} from "./slurm-values.ts";
import type { JobUse, Skipped, UseReport } from "./use.ts";

/** The columns to ask sacct for; more do no harm. */
export const sacctColumns =
  "JobID,JobName,User,State,Submit,Elapsed,NNodes,NTasks,AllocTRES,ReqMem,TotalCPU,MaxRSS,TRESUsageInTot,TRESUsageInAve";

/** The command whose output is read. */
export const sacctCommand = `sacct --allusers --parsable2 --starttime now-7days --format ${sacctColumns}`;

const delimiters = ["|", "\t", ";", ","];
const jobId = /^(\d+(?:_(?:\d+|\[[^\]]*\]))?(?:\+\d+)?)(?:\.(.+))?$/;
/** Ended before it ran, or has not run yet: nothing to learn. */
const unstarted = /^(PENDING|REQUEUED|REQUEUE_HOLD|CONFIGURING|REVOKED)/;

/** Reads the text. Rows that cannot be used are skipped with their line; throws JOBS_INVALID for a text that is no such table. */
export function parseSacct(text: string, file: string): UseReport {
  const lines = text.replace(/^\uFEFF/, "").split(/\r?\n/);
  const { at, delimiter, column } = headerOf(lines, file);
  const cellsOf = (line: string): string[] => {
    const cells = line.split(delimiter);
    // --parsable ends every line with a delimiter.
    if (cells.length === column.size + 1 && cells.at(-1) === "") cells.pop();
    return cells;
  };
  const jobs: Draft[] = [];
  const open = new Map<string, Draft>();
  const skipped: Skipped[] = [];
  for (let i = at + 1; i < lines.length; i++) {
    const line = lines[i] as string;
    if (line.trim() === "" || /^[-\s|]+$/.test(line)) continue;
    const skip = (reason: string): void => void skipped.push({ line: i + 1, reason });
    const cells = cellsOf(line);
    if (cells.length !== column.size) {
      skip(`${cells.length} cells where the header has ${column.size}`);
      continue;
    }
    const cell = (name: string): string => (cells[column.get(name) ?? -1] ?? "").trim();
    const name = cell("jobid") || cell("jobidraw");
    const id = jobId.exec(name);
    if (id === null) {
      skip(`${JSON.stringify(name)} is no job id`);
      continue;
    }
    const [, job = "", step] = id;
    if (step === undefined) {
      const draft = draftOf(job, cell);
      if (typeof draft === "string") skip(draft);
      else if (draft !== null) {
        open.set(job, draft);
        jobs.push(draft);
      } else open.delete(job);
    } else {
      const draft = open.get(job);
      if (draft !== undefined) addStep(draft, step, cell);
    }
  }
  return { source: "sacct", jobs: jobs.map(finished), skipped };
}

interface Header {
  readonly at: number;
  readonly delimiter: string;
  /** Index by name in lower case. */
  readonly column: ReadonlyMap<string, number>;
}

function headerOf(lines: readonly string[], file: string): Header {
  const at = lines.findIndex((line) => /^\s*"?(JobID|JobIDRaw)\b|\b(JobID|JobIDRaw)\b/i.test(line));
  const fail = (message: string): never => {
    throw new MillraceError("JOBS_INVALID", message, {
      at: { file, line: Math.max(1, at + 1) },
      hint: `write the file with: ${sacctCommand} > jobs.txt`,
    });
  };
  if (at < 0) return fail("no line names a column JobID, so this is no output of sacct");
  const line = lines[at] as string;
  const delimiter = delimiters.find((d) => line.includes(d));
  if (delimiter === undefined)
    return fail("sacct's columns of fixed width cut values off; use --parsable2");
  const names = line.split(delimiter).map((name) => name.trim().toLowerCase());
  if (names.at(-1) === "") names.pop();
  const column = new Map(names.map((name, i) => [name, i]));
  if (column.size !== names.length) return fail("two columns have one name");
  const one = (...of: readonly string[]): void => {
    if (!of.some((name) => column.has(name.toLowerCase())))
      fail(`there is no column ${of.join(" or ")}`);
  };
  one("Elapsed", "ElapsedRaw");
  one("TotalCPU");
  one("AllocTRES", "ReqTRES", "AllocGRES", "ReqGRES");
  return { at, delimiter, column };
}

/** A job while its steps come in. */
interface Draft extends Omit<JobUse, "cpus" | "memory" | "gpuBusy"> {
  readonly heldCpus: number | null;
  readonly heldBytes: number | null;
  readonly exhausted: boolean;
  cpuSeconds: number;
  stepCpuSeconds: number;
  /** Of the batch script and what runs beside it, and the largest of the steps that follow one another. */
  besideBytes: number;
  stepBytes: number;
  gpuBusy: number | null;
}

/** The row of a job: a draft, null for one that has not run, or why it cannot be used. */
function draftOf(id: string, cell: (name: string) => string): Draft | string | null {
  const state = cell("state").toUpperCase();
  if (unstarted.test(state)) return null;
  const elapsed = cell("elapsedraw");
  const seconds = elapsed === "" ? slurmSeconds(cell("elapsed")) : Number(elapsed);
  if (!(seconds >= 0) || !Number.isFinite(seconds))
    return `Elapsed is ${JSON.stringify(cell("elapsed") || elapsed)}, not a time`;
  if (seconds === 0) return null;
  const tres = slurmTres(cell("alloctres") || cell("reqtres"));
  const nodes = Math.max(1, Number(cell("nnodes") || cell("allocnodes")) || 1);
  const gpus = tresGpus(tres) || gresGpus(cell("allocgres") || cell("reqgres")) * nodes;
  const cpus = Number(tres.get("cpu") ?? (cell("alloccpus") || cell("ncpus") || cell("reqcpus")));
  const heldCpus = cpus > 0 && Number.isFinite(cpus) ? cpus : null;
  const total = slurmSeconds(cell("totalcpu"));
  return {
    id,
    name: cell("jobname") || id,
    owner: cell("user") || cell("account") || "?",
    gpus,
    running: state.startsWith("RUNNING"),
    submittedAt: slurmTime(cell("submit")),
    seconds,
    heldCpus,
    heldBytes: heldMemory(tres, cell("reqmem"), nodes, heldCpus ?? 1),
    exhausted: state.startsWith("OUT_OF_ME"),
    cpuSeconds: Number.isFinite(total) ? total : 0,
    stepCpuSeconds: 0,
    besideBytes: 0,
    stepBytes: 0,
    gpuBusy: null,
  };
}

function heldMemory(
  tres: ReadonlyMap<string, string>,
  requested: string,
  nodes: number,
  cpus: number,
): number | null {
  const granted = slurmBytes(tres.get("mem") ?? "", "MB").bytes;
  if (granted > 0) return granted;
  const { bytes, per } = slurmBytes(requested, "MB");
  if (!(bytes > 0)) return null;
  return bytes * (per === "node" ? nodes : per === "cpu" ? cpus : 1);
}

function addStep(draft: Draft, step: string, cell: (name: string) => string): void {
  const used = slurmTres(cell("tresusageintot"));
  const cpu = slurmSeconds(cell("totalcpu"));
  if (Number.isFinite(cpu)) draft.stepCpuSeconds += cpu;
  // MaxRSS is of the largest task; the total over tasks is exact where Slurm keeps it.
  const tasks = Math.max(1, Number(cell("ntasks")) || 1);
  const total = slurmBytes(used.get("mem") ?? "", "bytes").bytes;
  const bytes = total > 0 ? total : slurmBytes(cell("maxrss"), "bytes").bytes * tasks;
  if (bytes > 0) {
    if (/^\d+$/.test(step)) draft.stepBytes = Math.max(draft.stepBytes, bytes);
    else draft.besideBytes += bytes;
  }
  const busy = Number(slurmTres(cell("tresusageinave")).get("gres/gpuutil"));
  if (Number.isFinite(busy)) draft.gpuBusy = Math.max(draft.gpuBusy ?? 0, Math.min(1, busy / 100));
}

function finished(draft: Draft): JobUse {
  const { heldCpus, heldBytes, exhausted, cpuSeconds, stepCpuSeconds, ...rest } = draft;
  const { besideBytes, stepBytes, ...job } = rest;
  // The row of a running job counts ended steps only: no use is not idleness.
  const busy = cpuSeconds > 0 ? cpuSeconds : stepCpuSeconds;
  const peak = besideBytes + stepBytes;
  return {
    ...job,
    cpus: {
      held: heldCpus,
      limit: heldCpus,
      mean: busy > 0 ? busy / job.seconds : null,
      high: null,
      throttled: null,
    },
    memory: { heldBytes, peakBytes: peak > 0 ? peak : null, exhausted },
  };
}
