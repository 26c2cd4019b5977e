/** Records as they are written: columns as plain arrays, times as gaps, columns of zeros left out. */
import type { FileRecord, FileServerTimes, RequestRecord, ServerTimes } from "../contracts.ts";

/** The written form; times of chunks are rounded to whole µs without losing their sum. */
export function toFile(record: RequestRecord): FileRecord {
  const { timeUs, tokens, chars, choice, kind, serverUs } = record.chunks;
  let before = Math.round(record.scheduledUs);
  const gapUs = Array.from(timeUs, (at) => {
    const gap = Math.round(at) - before;
    before += gap;
    return gap;
  });
  return {
    ...record,
    scheduledUs: Math.round(record.scheduledUs),
    ...wholeTimes(record),
    chunks: {
      gapUs,
      tokens: Array.from(tokens),
      chars: Array.from(chars),
      ...(choice.some((v) => v !== 0) && { choice: Array.from(choice) }),
      ...(kind.some((v) => v !== 0) && { kind: Array.from(kind) }),
      ...(serverUs !== null && { serverUs: Array.from(serverUs, Math.round) }),
    },
    server: record.server && columnsOf(record.server),
  };
}

/** The form in memory. */
export function fromFile(record: FileRecord): RequestRecord {
  const { gapUs, tokens, chars, choice, kind, serverUs } = record.chunks;
  const timeUs = new Float64Array(gapUs.length);
  let at = record.scheduledUs;
  for (let i = 0; i < gapUs.length; i++) {
    at += gapUs[i] as number;
    timeUs[i] = at;
  }
  return {
    ...record,
    chunks: {
      timeUs,
      tokens: Int32Array.from(tokens),
      chars: Int32Array.from(chars),
      choice: choice === undefined ? new Uint16Array(gapUs.length) : Uint16Array.from(choice),
      kind: kind === undefined ? new Uint8Array(gapUs.length) : Uint8Array.from(kind),
      serverUs: serverUs === undefined ? null : Float64Array.from(serverUs),
    },
    server: record.server ? timesOf(record.server) : null,
  };
}

function columnsOf(server: ServerTimes): FileServerTimes {
  const { step, plannedUs, submittedUs, completedUs, busyUs, writtenUs } = server;
  return {
    ...server,
    step: Array.from(step),
    plannedUs: Array.from(plannedUs),
    submittedUs: Array.from(submittedUs),
    completedUs: Array.from(completedUs),
    busyUs: Array.from(busyUs),
    writtenUs: Array.from(writtenUs),
  };
}

function timesOf(server: FileServerTimes): ServerTimes {
  const { step, plannedUs, submittedUs, completedUs, busyUs, writtenUs } = server;
  return {
    ...server,
    step: Int32Array.from(step),
    plannedUs: Float64Array.from(plannedUs),
    submittedUs: Float64Array.from(submittedUs),
    completedUs: Float64Array.from(completedUs),
    busyUs: Float64Array.from(busyUs),
    writtenUs: Float64Array.from(writtenUs),
  };
}

const times = [
  "startedUs",
  "connectedUs",
  "headersUs",
  "firstEventUs",
  "firstTokenUs",
  "firstContentUs",
  "lastTokenUs",
  "endedUs",
] as const satisfies readonly (keyof RequestRecord)[];

function wholeTimes(record: RequestRecord): Pick<RequestRecord, (typeof times)[number]> {
  return Object.fromEntries(times.map((key) => [key, Math.round(record[key])])) as Pick<
    RequestRecord,
    (typeof times)[number]
  >;
}
