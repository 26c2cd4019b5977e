/**
 * Feeding training without data stalls: sources, fetching, the never-evict cache, preparation, batches. Layer 1; uses
 * the operating system through @millrace/system alone. Papers: CoorDL and DS-Analyzer (VLDB 2021).
 */
export { type AnalyzePhase, instrument } from "./analyze/instrument.ts";
export {
  jobProfileJsonSchema,
  parseJobProfile,
  readJobProfile,
  writeJobProfile,
} from "./analyze/profile-file.ts";
export * from "./batch/area.ts";
export * from "./batch/batch.ts";
export type * from "./cache/byte-cache.ts";
export { cachePath, MinioCache, type MinioCacheOptions } from "./cache/minio-cache.ts";
export { NoCache } from "./cache/no-cache.ts";
export { type CacheOverview, cacheOverviews, removeCache } from "./cache/overview.ts";
export { CoordinatedSource, type JoinOptions } from "./daemon/client.ts";
export { metricsAddress, metricsPage, serveMetrics } from "./daemon/metrics.ts";
export { cleanRings, rings } from "./daemon/ring.ts";
export { DataService } from "./daemon/service.ts";
export type { ServiceOptions } from "./daemon/service-options.ts";
export { defaultSocket, startService } from "./daemon/start-service.ts";
export { Arena } from "./fetch/arena.ts";
export { FileReader, type FileReaderOptions, type ReadMode } from "./fetch/file-reader.ts";
export type * from "./fetch/storage-reader.ts";
export {
  type LeasableSource,
  LeasedSource,
  type LeasedSourceOptions,
} from "./lease/leased-source.ts";
export type * from "./loader/bad-samples.ts";
export { DataLoader, type LoaderOptions } from "./loader/loader.ts";
export { HttpReader, type HttpReaderOptions } from "./peers/http-reader.ts";
export { digestItems, readManifest, writeManifest } from "./peers/manifest.ts";
export { openPeers, type PeerSpec, type PeersOptions, parsePeer } from "./peers/open-peers.ts";
export { assignOwners, type MemberShare, type Ownership } from "./peers/ownership.ts";
export {
  type Member,
  type MemberCounts,
  PartitionedReader,
  type PartitionedReaderOptions,
} from "./peers/partitioned-reader.ts";
export { openPeerStore, type PeerStore, type PeerStoreOptions } from "./peers/peer-store.ts";
export { decoderInUse } from "./prep/decoder.ts";
export { makeTransform, outputSpec } from "./prep/make-transform.ts";
export type * from "./prep/transform.ts";
export * from "./sampler/sampler.ts";
export { openFolder } from "./source/folder.ts";
export { type OpenOptions, openSource, sourceKindOf } from "./source/open.ts";
export type * from "./source/source.ts";
export { byteTokens, packText, type Tokenize } from "./source/tokens.ts";
export * from "./stall-model/index.ts";
export * from "./storage/emulated-storage.ts";
export * from "./storage/measure-storage.ts";
export { type JpegSetOptions, makeJpegSet } from "./synthetic/jpeg-set.ts";
