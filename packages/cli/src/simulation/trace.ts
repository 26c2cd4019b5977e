/** A run as a timeline for ui.perfetto.dev: one process per replica, a track per stage, counters, one async track per request. */
import { ChromeTraceWriter } from "@millrace/core";
import { AtomicFileStream } from "@millrace/core/node";
import type { SimulationResult } from "@millrace/sim";

/** Requests drawn as tracks of their own; a viewer is of no use beyond. */
const mostRequests = 20_000;

/** Writes the timeline of a run that recorded one. Throws OUTPUT_UNWRITABLE. */
export function writeTrace(path: string, result: SimulationResult): void {
  using file = new AtomicFileStream(path);
  const trace = new ChromeTraceWriter((chunk) => file.write(chunk));
  writeBatches(trace, result);
  writeRequests(trace, result);
  trace.end();
  file.commit();
}

function writeBatches(trace: ChromeTraceWriter, { config, timeline }: SimulationResult): void {
  for (let replica = 0; replica < config.replicas; replica++) {
    trace.processName(replica, `replica ${replica}`);
    for (let stage = 0; stage < config.pipelineParallel; stage++)
      trace.threadName(replica, stage, `stage ${stage}`);
  }
  if (timeline === null) return;
  const { stages } = timeline;
  for (let batch = 0; batch < timeline.count; batch++) {
    const replica = timeline.replica[batch] ?? 0;
    const startsAt = timeline.startsAt[batch] ?? 0;
    const prefill = timeline.prefillTokens[batch] ?? 0;
    const decodes = timeline.decodeRows[batch] ?? 0;
    const args = {
      batch,
      prefillTokens: prefill,
      prefillRows: timeline.prefillRows[batch],
      decodeRows: decodes,
    };
    const name = prefill === 0 ? "decode" : decodes === 0 ? "prefill" : "mixed";
    for (let stage = 0; stage < stages; stage++) {
      const from = timeline.stageStartsAt[batch * stages + stage] ?? 0;
      const to = timeline.stageEndsAt[batch * stages + stage] ?? from;
      trace.complete(name, replica, stage, from, to - from, args);
    }
    trace.counter("batch", replica, startsAt, { prefillTokens: prefill, decodeRows: decodes });
    trace.counter("queue", replica, startsAt, { waiting: timeline.waiting[batch] ?? 0 });
    const used = Math.round((timeline.kvUsedShare[batch] ?? 0) * 1e4) / 100;
    trace.counter("KV used, %", replica, startsAt, { used });
  }
}

function writeRequests(trace: ChromeTraceWriter, { requests, perRequest }: SimulationResult): void {
  const count = Math.min(requests.count, mostRequests);
  for (let i = 0; i < count; i++) {
    const scheduledAt = perRequest.scheduledAt[i] ?? Number.NaN;
    if (Number.isNaN(scheduledAt)) continue;
    const id = requests.ids?.[i] ?? i;
    const replica = perRequest.replica[i] ?? 0;
    const spans = [
      ["waiting", requests.arrivedAt[i] ?? 0, scheduledAt],
      ["prefill", scheduledAt, perRequest.firstTokenAt[i] ?? Number.NaN],
      ["decode", perRequest.firstTokenAt[i] ?? 0, perRequest.completedAt[i] ?? Number.NaN],
    ] as const;
    const args = { prompt: requests.promptTokens[i], output: requests.outputTokens[i] };
    for (const [name, from, to] of spans) {
      if (!(to >= from)) continue;
      trace.asyncBegin("request", id, name, replica, from, args);
      trace.asyncEnd("request", id, name, replica, to);
    }
  }
}
