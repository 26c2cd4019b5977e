/** Prometheus metrics of a service, all named `millrace_data_…`: made from its status when they are asked for. */
import { createServer, type Server } from "node:http";
import { MillraceError } from "@millrace/core";
import { Counter, Gauge, Registry } from "prom-client";
import type { ProducerCounts } from "./producer-protocol.ts";
import type { ServiceStatus } from "./protocol.ts";

type Row = readonly [labels: Readonly<Record<string, string>>, value: number];

/** The page in Prometheus' text format. docs/data.md has the table. */
export async function metricsPage(status: ServiceStatus): Promise<string> {
  const registry = new Registry();
  const put =
    (Metric: typeof Counter | typeof Gauge) =>
    (name: string, help: string, rows: readonly Row[]): void => {
      const metric = new Metric({
        name: `millrace_data_${name}`,
        help,
        labelNames: Object.keys(rows[0]?.[0] ?? {}),
        registers: [registry],
      });
      for (const [labels, value] of rows) metric.inc({ ...labels }, value);
    };
  const total = put(Counter);
  const gauge = put(Gauge);
  const { jobs, producers, restarts, prepared, used, detached, badSamples, slots } = status;
  gauge("jobs", "Jobs that have joined", [[{}, jobs]]);
  gauge("producers", "Producer processes", [[{}, producers]]);
  gauge(
    "ring_slots",
    "Slots of the staging ring by state",
    Object.entries(slots).map(([state, n]) => [{ state }, n]),
  );
  total("producers_replaced_total", "Producers that ended unasked", [[{}, restarts]]);
  total("batches_prepared_total", "Batches prepared", [[{}, prepared]]);
  total("batches_used_total", "Batches used, once for every job that used one", [[{}, used]]);
  total("jobs_detached_total", "Times that a slow job lost its share", [[{}, detached]]);
  total("bad_samples_total", "Samples that could not be used", [[{}, badSamples]]);
  if (status.work !== null) work(status.work, total, gauge);
  return await registry.metrics();
}

type Put = (name: string, help: string, rows: readonly Row[]) => void;

function work(
  { prep, reads, cache, members, fetchSeconds, prepSeconds }: ProducerCounts,
  total: Put,
  gauge: Put,
): void {
  total("samples_prepared_total", "Samples prepared", [[{}, prep.samples]]);
  total("prep_busy_seconds_total", "Time inside preparation, over all threads", [
    [{}, prep.busySeconds],
  ]);
  total("batch_seconds_total", "Time of batches by stage: until their items were there, and then", [
    [{ stage: "fetch" }, fetchSeconds],
    [{ stage: "prep" }, prepSeconds],
  ]);
  total("cache_lookups_total", "Items asked of the byte cache", [
    [{ outcome: "hit" }, cache.hits],
    [{ outcome: "miss" }, cache.misses],
  ]);
  total("cache_offers_total", "Items offered to the byte cache", [
    [{ outcome: "admitted" }, cache.admitted],
    [{ outcome: "refused" }, cache.refused],
  ]);
  gauge("cache_items", "Items in the byte cache", [[{}, cache.items]]);
  gauge("cache_bytes", "Bytes of the byte cache", [
    [{ kind: "used" }, cache.usedBytes],
    [{ kind: "capacity" }, cache.capacityBytes],
  ]);
  total("reads_total", "Items read past the byte cache, from peers or storage", [
    [{}, reads.reads],
  ]);
  total("storage_bytes_total", "Bytes from storage, padding included", [[{}, reads.storageBytes]]);
  total("read_retries_total", "Reads that were tried again", [[{}, reads.retries]]);
  total("read_failures_total", "Reads that failed", [[{}, reads.failures]]);
  if (members.length === 0) return;
  const outcomes = ["hits", "misses", "corrupt", "failures", "skipped"] as const;
  total(
    "peer_reads_total",
    "Items asked of a member of the servers' cache",
    members.flatMap((member) =>
      outcomes.map((outcome): Row => [{ peer: member.name, outcome }, member[outcome]]),
    ),
  );
  total(
    "peer_hit_bytes_total",
    "Bytes that a member gave",
    members.map(({ name, hitBytes }) => [{ peer: name }, hitBytes]),
  );
  total(
    "peer_writes_total",
    "Items offered to a member",
    members.flatMap(({ name, stored, refused }): Row[] => [
      [{ peer: name, outcome: "stored" }, stored],
      [{ peer: name, outcome: "refused" }, refused],
    ]),
  );
  gauge(
    "peer_bytes",
    "Bytes that a member offers, and what its items take of them",
    members.flatMap(({ name, offeredBytes, plannedBytes }): Row[] => [
      [{ peer: name, kind: "offered" }, offeredBytes],
      [{ peer: name, kind: "planned" }, plannedBytes],
    ]),
  );
  gauge(
    "peer_up",
    "1 when the member was asked last and answered, 0 while it is left alone",
    members.map(({ name, state }) => [{ peer: name }, state === "closed" ? 1 : 0]),
  );
}

/** `9100`, or `0.0.0.0:9100`; without a host this machine alone may ask. Throws MillraceError USAGE. */
export function metricsAddress(text: string): { readonly host: string; readonly port: number } {
  const [, host, port = ""] = /^(?:(.+):)?(\d+)$/.exec(text.trim()) ?? [];
  const number = Number(port);
  if (port === "" || number > 65_535)
    throw new MillraceError("USAGE", `--metrics: ${JSON.stringify(text)} is no port`, {
      hint: "write 9100, or 0.0.0.0:9100 for others than this machine",
    });
  return { host: host?.replace(/^\[|\]$/g, "") ?? "127.0.0.1", port: number };
}

/** Answers GET /metrics. Rejects when the address cannot be listened on. */
export async function serveMetrics(
  address: { readonly host: string; readonly port: number },
  status: () => ServiceStatus,
): Promise<AsyncDisposable & { readonly url: string }> {
  const server: Server = createServer((request, response) => {
    if (request.method !== "GET" || request.url?.split("?")[0] !== "/metrics") {
      response.writeHead(404).end();
      return;
    }
    metricsPage(status()).then(
      (page) =>
        response.writeHead(200, { "content-type": Registry.PROMETHEUS_CONTENT_TYPE }).end(page),
      (error: unknown) => response.writeHead(500).end(String(error)),
    );
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", (cause) =>
      reject(
        new MillraceError(
          "DATA_SERVICE_FAILED",
          `metrics cannot be served on ${address.host}:${address.port}: ${cause.message}`,
          { cause },
        ),
      ),
    );
    server.listen(address.port, address.host, resolve);
  });
  const bound = server.address();
  const port = typeof bound === "object" && bound !== null ? bound.port : address.port;
  const host = address.host.includes(":") ? `[${address.host}]` : address.host;
  return {
    url: `http://${host}:${port}/metrics`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
