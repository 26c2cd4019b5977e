/** Reads raw files of runs, line by line, and puts runs of several hosts together. */
import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";
import { MillraceError } from "@millrace/core";
import { z } from "zod";
import {
  type FileRecord,
  type RequestRecord,
  RUN_SCHEMA,
  type RunData,
  type RunEnd,
  type RunHeader,
  type ServerTimes,
} from "../contracts.ts";
import { fromFile } from "./file-record.ts";

const header = z.looseObject({
  schema: z.literal(RUN_SCHEMA),
  label: z.string(),
  startedAt: z.string(),
  startMonotonicNs: z.string().regex(/^\d+$/),
  seed: z.string(),
  endpoint: z.looseObject({ url: z.string(), model: z.string() }),
  load: z.looseObject({}),
  classes: z.array(z.looseObject({ name: z.string() })),
});

const whole = z.number().int();
const record = z.looseObject({
  index: whole,
  status: z.enum(["ok", "failed", "refused", "abandoned"]),
  warmup: z.boolean(),
  scheduledUs: whole,
  startedUs: whole,
  firstTokenUs: whole,
  lastTokenUs: whole,
  askedOutputTokens: whole.min(0),
  askedChoices: whole.min(1),
  chunks: z.looseObject({
    gapUs: z.array(whole),
    tokens: z.array(whole.min(0)),
    chars: z.array(whole.min(0)),
  }),
});

/**
 * Reads one file. A last line that was cut off by a crash is left out, like a missing end. Throws MillraceError
 * CONFIG_SYNTAX or CONFIG_INVALID with file and line for anything else that is wrong, FILE_UNREADABLE when it cannot be read.
 */
export async function readRun(path: string): Promise<RunData> {
  const lines = createInterface({
    input: createReadStream(path),
    crlfDelay: Number.POSITIVE_INFINITY,
  });
  const records: RequestRecord[] = [];
  let head: RunHeader | null = null;
  let end: RunEnd | null = null;
  let broken: string | null = null;
  let n = 0;
  try {
    for await (const line of lines) {
      n++;
      if (line.trim() === "") continue;
      if (broken !== null) throw bad(path, n - 1, broken);
      if (end !== null) throw bad(path, n, "there is more behind the end of the run");
      let value: unknown;
      try {
        value = JSON.parse(line);
      } catch (error) {
        // Only the last line may be cut; whether this is the last one shows in the next turn.
        broken = (error as Error).message;
        continue;
      }
      if (head === null) head = checked(header, value, path, n) as unknown as RunHeader;
      else if ((value as { kind?: unknown }).kind === "end") end = value as RunEnd;
      else records.push(recordOf(value, path, n));
    }
  } catch (error) {
    if (error instanceof MillraceError) throw error;
    throw new MillraceError(
      "FILE_UNREADABLE",
      `${path} cannot be read: ${(error as Error).message}`,
      {
        hint: "give a raw file that millrace bench wrote",
        cause: error,
      },
    );
  }
  if (head === null) throw bad(path, 1, broken ?? "the file is empty");
  records.sort((a, b) => a.index - b.index);
  return { header: head, records, end };
}

function recordOf(value: unknown, path: string, line: number): RequestRecord {
  const read = checked(record, value, path, line);
  const { gapUs, tokens, chars } = read.chunks;
  if (tokens.length !== gapUs.length || chars.length !== gapUs.length)
    throw bad(path, line, "the columns of chunks differ in length");
  return fromFile(read as unknown as FileRecord);
}

function checked<T>(schema: z.ZodType<T>, value: unknown, path: string, line: number): T {
  const read = schema.safeParse(value);
  if (read.success) return read.data;
  const issue = read.error.issues[0];
  throw bad(path, line, `${issue?.path.join(".") ?? ""}: ${issue?.message ?? "not a record"}`);
}

function bad(path: string, line: number, what: string): MillraceError {
  return new MillraceError("CONFIG_INVALID", `${path}:${line} ${what}`, {
    hint: `the file must be a raw file of millrace bench (${RUN_SCHEMA})`,
  });
}

/**
 * One run of several that went on at the same time, e.g. on several client hosts: records and workers are numbered anew,
 * clocks are each file's own (all start at 0), so a server's clock is one per host, told against the first. Throws CONFIG_INVALID when they did not load the same model over the same interface.
 */
export function mergeRuns(runs: readonly RunData[]): RunData {
  const [first, ...others] = runs;
  if (first === undefined)
    throw new MillraceError("CONFIG_INVALID", "there is no run to merge", {
      hint: "name raw files",
    });
  for (const { header } of others) {
    const { model, api } = header.endpoint;
    if (model !== first.header.endpoint.model || api !== first.header.endpoint.api)
      throw new MillraceError(
        "CONFIG_INVALID",
        `runs of ${first.header.endpoint.model} (${first.header.endpoint.api}) and ${model} (${api}) cannot be merged`,
        { hint: "merge runs of one model and one API, or use millrace bench compare" },
      );
  }
  if (others.length === 0) return first;
  let index = 0;
  const places = placesOf(runs);
  const records = runs.flatMap((run, host) =>
    run.records.map((record) => ({
      ...record,
      worker: record.worker + (places[host]?.worker ?? 0),
      server: record.server && rebased(record.server, host, places[host]?.laterUs ?? 0),
      // Warm-up keeps its negative numbers out of the way of the others.
      index: index++,
      id: `${host}/${record.id}`,
      session: record.session + host * 1e9,
    })),
  );
  return { header: { ...first.header, scheduled: null }, records, end: mergedEnd(runs, places) };
}

interface Place {
  /** Number of the host's first worker among all. */
  readonly worker: number;
  /** Start of the run on the host's monotonic clock, less that of the first run, µs. */
  readonly laterUs: number;
}

function placesOf(runs: readonly RunData[]): readonly Place[] {
  let worker = 0;
  const start = BigInt(runs[0]?.header.startMonotonicNs ?? 0);
  return runs.map(({ header, records, end }) => {
    const place = { worker, laterUs: Number(BigInt(header.startMonotonicNs) - start) / 1e3 };
    const numbers = [...records, ...(end?.self.workers ?? [])].map((one) => one.worker);
    worker = numbers.reduce((most, n) => Math.max(most, place.worker + n + 1), worker + 1);
    return place;
  });
}

/**
 * The server's times as the first host would tell them, so that an offset against the start of the run stays one against
 * the monotonic clock. Hosts differ in their clocks: each gets a fit of its own.
 */
function rebased(server: ServerTimes, host: number, laterUs: number): ServerTimes {
  return {
    ...server,
    clock: `${server.clock} from host ${host + 1}`,
    arrivedUs: server.arrivedUs - laterUs,
  };
}

function mergedEnd(runs: readonly RunData[], places: readonly Place[]): RunEnd | null {
  const ends = runs.map(({ end }) => end);
  const known = ends.filter((end) => end !== null);
  const [first] = known;
  if (first === undefined || known.length < ends.length) return null;
  const sum = (of: (end: RunEnd) => number): number => known.reduce((a, end) => a + of(end), 0);
  const worst = known.find(({ self }) => self.verdict === "INVALID") ?? first;
  const server = known.find((end) => end.server !== undefined)?.server;
  return {
    ...first,
    ...(server !== undefined && { server }),
    reason: known.find(({ reason }) => reason !== "complete")?.reason ?? "complete",
    seconds: Math.max(...known.map(({ seconds }) => seconds)),
    scheduled: sum((e) => e.scheduled),
    sent: sum((e) => e.sent),
    ok: sum((e) => e.ok),
    failed: sum((e) => e.failed),
    refused: sum((e) => e.refused),
    abandoned: sum((e) => e.abandoned),
    warmupRequests: sum((e) => e.warmupRequests),
    offeredQps: sum((e) => e.offeredQps),
    sentQps: sum((e) => e.sentQps),
    costDollars: sum((e) => e.costDollars),
    self: {
      ...worst.self,
      workers: known.flatMap(({ self }, host) =>
        self.workers.map((one) => ({ ...one, worker: one.worker + (places[host]?.worker ?? 0) })),
      ),
      reasons: known.flatMap(({ self }, host) => self.reasons.map((r) => `host ${host + 1}: ${r}`)),
    },
  };
}
