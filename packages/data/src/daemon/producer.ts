/**
 * A producer: a child process of the service that prepares leased batches into the ring. It ends with the service: the
 * channel between them closes however the service ends.
 */
import { MillraceError } from "@millrace/core";
import { MinioCache } from "../cache/minio-cache.ts";
import { NoCache } from "../cache/no-cache.ts";
import { FileReader } from "../fetch/file-reader.ts";
import type { StorageReader } from "../fetch/storage-reader.ts";
import { Pipeline } from "../loader/pipeline.ts";
import { openPeers } from "../peers/open-peers.ts";
import { PartitionedReader } from "../peers/partitioned-reader.ts";
import { openSource } from "../source/open.ts";
import { onMachineClock } from "./machine-clock.ts";
import type {
  FromProducer,
  ProducerCounts,
  ProducerSetup,
  ToProducer,
} from "./producer-protocol.ts";
import { Ring } from "./ring.ts";

process.on("disconnect", () => process.exit(0));
// The terminal's Ctrl-C is for the service, which ends its producers.
process.on("SIGINT", () => {});

const say = (message: FromProducer): void => {
  // A service that is gone hears nothing: the channel's end ends this process.
  process.send?.(message, undefined, {}, () => {});
};

let working: Promise<{ lease: (message: Lease) => void; end: () => Promise<void> }> | null = null;
type Lease = ToProducer & { readonly kind: "lease" };

process.on("message", (message: ToProducer) => {
  if (message.kind === "setup") {
    working = start(message);
    working.then(
      () => say({ kind: "ready" }),
      (error: unknown) => {
        const code = error instanceof MillraceError ? error.code : "CONFIG_INVALID";
        say({
          kind: "broken",
          code,
          message: error instanceof Error ? error.message : String(error),
        });
      },
    );
  } else if (message.kind === "lease") void working?.then(({ lease }) => lease(message));
  else
    void working?.then(async ({ end }) => {
      await end();
      process.exit(0);
    });
});

async function start(setup: ProducerSetup) {
  const source = await openSource(setup.source);
  if (source.identity !== setup.identity)
    throw new MillraceError(
      "DATA_INVALID",
      `${source.path} has changed since the service opened it`,
      {
        hint: "start the service again",
      },
    );
  const ring = new Ring(setup.ring, setup.layout);
  const cache =
    setup.cacheBytes > 0
      ? new MinioCache({
          source,
          capacityBytes: setup.cacheBytes,
          orLess: setup.cacheOrLess,
          ...(setup.cacheFolder !== null && { folder: setup.cacheFolder }),
        })
      : new NoCache();
  const files = new FileReader();
  const reader: StorageReader =
    setup.peers === null ? files : await openPeers(source, setup.peers, files);
  const pipeline = new Pipeline({
    source,
    transform: setup.transform,
    cache,
    reader,
    workers: 1,
    inFlight: setup.inFlight,
    arenaBytes: setup.arenaBytes,
    badSamples: setup.badSamples,
    out: ring.area,
  });
  let reported = 0;
  let fetchSeconds = 0;
  let prepSeconds = 0;
  const counts = (): ProducerCounts => ({
    prep: pipeline.prepCounts(),
    reads: reader.counts(),
    cache: cache.counts(),
    members: reader instanceof PartitionedReader ? reader.members() : [],
    fetchSeconds,
    prepSeconds,
  });
  return {
    lease({ lease, epoch, items }: Lease): void {
      const { slot, generation } = lease;
      const began = performance.now();
      const planned = pipeline.plan(lease.seed, epoch, items);
      pipeline.prepare(planned, ring.slotAt(slot)).then(
        (prepared) => {
          ring.labels(slot, prepared.samples).set(prepared.labels);
          ring.items(slot, prepared.samples).set(prepared.items);
          const bad = pipeline.bad.named
            .slice(reported)
            .map(({ name, reason }) => ({ name, reason }));
          reported += bad.length;
          const { samples, fetchedAt, preparedAt } = prepared;
          fetchSeconds += (fetchedAt - began) / 1000;
          prepSeconds += (preparedAt - fetchedAt) / 1000;
          say({
            kind: "made",
            slot,
            generation,
            samples,
            error: null,
            bad,
            fetchedAt: onMachineClock(fetchedAt),
            counts: counts(),
          });
        },
        (error: Error) =>
          say({
            kind: "made",
            slot,
            generation,
            samples: 0,
            error: error.message,
            bad: [],
            fetchedAt: onMachineClock(began),
            counts: counts(),
          }),
      );
    },
    async end(): Promise<void> {
      await pipeline[Symbol.asyncDispose]();
      await reader[Symbol.asyncDispose]();
      cache[Symbol.dispose]();
      ring[Symbol.dispose]();
    },
  };
}
