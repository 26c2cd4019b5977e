/** Traces of training jobs: who arrives when, with which model, how many iterations and how many GPUs. */
import { escapeCsv, MillraceError, parseCsv } from "@millrace/core";

/** One job of a trace. */
export interface TraceJob {
  /** A whole number, unique in the trace. */
  readonly id: number;
  readonly model: string;
  /** Seconds from the start of the trace. */
  readonly arrivalSeconds: number;
  /** Iterations to run, at least 1. */
  readonly iterations: number;
  /** GPUs, all at once (a gang), at least 1. */
  readonly gpus: number;
  /** Whose job it is; only traces with a header, and generated ones, can say. */
  readonly tenant?: string;
  /** Data set that it reads, where jobs share some; likewise. */
  readonly dataset?: string;
}

const columns = ["job_id", "model", "arrival_s", "iterations", "gpus"] as const;

/**
 * Reads CSV rows `job_id,model,arrival_s,iterations,gpus`, with or without that header line, in any order of arrival. With
 * a header there may be columns `tenant` and `dataset` (an empty cell: a data set of its own).
 * Throws JOBS_INVALID with the place of the first cell that cannot be used, and for an empty trace.
 */
export function parseJobTrace(text: string, file: string): readonly TraceJob[] {
  const headed = /^\uFEFF?\s*job_id\s*,/.test(text);
  const table = parseCsv(headed ? text : `${columns.join(",")}\n${text}`, file, "JOBS_INVALID");
  const at = columns.map((name) => table.column(name));
  const fail = (row: number, col: number, message: string): never => {
    const place = table.place(row, at[col] ?? 0);
    const line = (place.line ?? 1) - (headed ? 0 : 1);
    throw new MillraceError("JOBS_INVALID", message, {
      at: { ...place, line },
      hint: `rows are ${columns.join(",")}`,
    });
  };
  columns.forEach((name, col) => {
    if ((at[col] ?? -1) < 0)
      throw new MillraceError("JOBS_INVALID", `the trace has no column ${name}`, {
        at: { file, line: 1 },
        hint: `columns are ${columns.join(",")}`,
      });
  });
  const whole = (row: number, col: number, least: number): number => {
    const value = table.number(row, at[col] as number);
    if (Number.isSafeInteger(value) && value >= least) return value;
    return fail(
      row,
      col,
      `${columns[col]} is ${JSON.stringify(table.text(row, at[col] as number))}, not a whole number of at least ${least}`,
    );
  };
  const tenantAt = table.column("tenant");
  const datasetAt = table.column("dataset");
  const seen = new Set<number>();
  const jobs: TraceJob[] = [];
  for (let row = 0; row < table.rows; row++) {
    const id = whole(row, 0, 0);
    if (seen.has(id)) fail(row, 0, `job ${id} is there twice`);
    seen.add(id);
    const arrivalSeconds = table.number(row, at[2] as number);
    if (!(arrivalSeconds >= 0 && Number.isFinite(arrivalSeconds)))
      fail(row, 2, `job ${id} arrives at ${JSON.stringify(table.text(row, at[2] as number))}`);
    const model = table.text(row, at[1] as number).trim();
    const dataset = datasetAt < 0 ? "" : table.text(row, datasetAt).trim();
    jobs.push({
      id,
      model,
      arrivalSeconds,
      iterations: whole(row, 3, 1),
      gpus: whole(row, 4, 1),
      ...(tenantAt >= 0 && { tenant: table.text(row, tenantAt).trim() }),
      ...(dataset !== "" && { dataset }),
    });
  }
  if (jobs.length === 0)
    throw new MillraceError("JOBS_INVALID", "the trace has no jobs", { at: { file } });
  return jobs;
}

/** The trace as CSV without a header, the form of the published simulator. */
export function formatJobTrace(jobs: readonly TraceJob[]): string {
  return jobs
    .map((j) => `${j.id},${escapeCsv(j.model)},${j.arrivalSeconds},${j.iterations},${j.gpus}\n`)
    .join("");
}
