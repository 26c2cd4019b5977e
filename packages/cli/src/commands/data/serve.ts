/** `millrace data serve`: the preparation service of a server. */
import { formatBytes } from "@millrace/core";
import {
  decoderInUse,
  metricsAddress,
  type OpenOptions,
  type PeersOptions,
  parsePeer,
  type ServiceOptions,
  serveMetrics,
  sourceKindOf,
  startService,
  type TransformSpec,
} from "@millrace/data";
import type { Session } from "../../session.ts";
import { type SourceFlags, sourceOptions } from "./source.ts";

interface ServeFlags extends SourceFlags {
  readonly batch?: number;
  readonly size?: number;
  readonly mode?: "train" | "evaluate";
  readonly type?: "u8" | "f32";
  readonly layout?: "nchw" | "nhwc";
  readonly decoder?: "auto" | "npm-turbo" | "system-turbo" | "vips";
  readonly seed?: number;
  readonly shuffle?: boolean;
  readonly dropLast?: boolean;
  readonly producers?: number;
  readonly staging?: number;
  readonly cache?: number;
  readonly socket?: string;
  readonly badSamples?: "skip" | "replace" | "fail";
  readonly detach?: number;
  readonly peer?: readonly string[];
  readonly peerManifest?: string;
  readonly rank?: number;
  readonly world?: number;
  readonly metrics?: string;
}

/** The preparation that suits the form of the data set. */
export function transformOf(source: OpenOptions, flags: ServeFlags): TransformSpec {
  const { kind = sourceKindOf(source.path), tokenBytes = 2, tokens = 1024 } = source;
  if (kind === "tokens" || kind === "text")
    return { kind: "tokens", width: tokenBytes, length: tokens };
  return {
    kind: "image",
    size: flags.size ?? 224,
    mode: flags.mode ?? "train",
    type: flags.type ?? "u8",
    layout: flags.layout ?? "nchw",
    ...(flags.decoder !== undefined && { decoder: flags.decoder }),
  };
}

function peersOf({ peer = [], peerManifest }: ServeFlags): PeersOptions {
  return {
    members: peer.map(parsePeer),
    ...(peerManifest !== undefined && { manifest: peerManifest }),
  };
}

export async function dataServeCommand(
  session: Session,
  path: string,
  given: Readonly<Record<string, unknown>>,
): Promise<number> {
  const flags = given as ServeFlags;
  const opened = await sourceOptions(path, flags);
  const options: ServiceOptions = {
    source: opened,
    transform: transformOf(opened, flags),
    batchSize: flags.batch ?? 64,
    ...(flags.seed !== undefined && { seed: flags.seed }),
    ...(flags.shuffle === false && { shuffle: false }),
    ...(flags.dropLast === true && { dropLast: true }),
    ...(flags.producers !== undefined && { producers: flags.producers }),
    ...(flags.staging !== undefined && { stagingBytes: flags.staging }),
    ...(flags.cache !== undefined && { cacheBytes: flags.cache }),
    ...(flags.socket !== undefined && { socket: flags.socket }),
    ...(flags.badSamples !== undefined && { badSamples: flags.badSamples }),
    ...(flags.detach !== undefined && { detachSeconds: flags.detach }),
    ...(flags.peer !== undefined && { peers: peersOf(flags) }),
    ...(flags.rank !== undefined && { rank: flags.rank }),
    ...(flags.world !== undefined && { world: flags.world }),
  };
  const address = flags.metrics === undefined ? null : metricsAddress(flags.metrics);
  const decoder =
    options.transform.kind === "image" ? decoderInUse(options.transform.decoder) : null;
  await using service = await startService(options);
  const { source, socket, ring } = service;
  await using metrics =
    address === null ? null : await serveMetrics(address, () => service.status());
  // Also with --quiet: programs wait for this line.
  session.surroundings.stderr.write(
    `${source.length} samples (${formatBytes(source.totalBytes)}) are served on ${socket}${metrics === null ? "" : `, metrics on ${metrics.url}`}\n`,
  );
  if (session.json)
    session.printJson({
      schema: "millrace.data-serve/1",
      socket,
      ring: ring.path,
      slots: ring.layout.slots,
      batchSize: options.batchSize,
      sample: ring.layout.spec,
      stagingBytes: ring.layout.fileBytes,
      samples: source.length,
      identity: source.identity,
      decoder,
      metrics: metrics?.url ?? null,
      pid: process.pid,
    });
  await session.interruptible(async (signal) => {
    const stopped = new Promise<void>((resolve) => {
      signal.addEventListener("abort", () => resolve(), { once: true });
    });
    await Promise.race([stopped, service.ended]);
  });
  const { prepared, used, detached, restarts, badSamples, named } = service.status();
  session.note(
    `${prepared} batches prepared, used ${used} times; ${detached} jobs detached, ${restarts} producers replaced, ${badSamples} bad samples`,
  );
  for (const { name, reason } of named.slice(0, 10)) session.note(`  ${name}: ${reason}`);
  return 0;
}
