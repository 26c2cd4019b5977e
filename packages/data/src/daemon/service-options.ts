/** How a preparation service is set up; plain data. */
import type { BadSamplePolicy } from "../loader/bad-samples.ts";
import type { PeersOptions } from "../peers/open-peers.ts";
import type { TransformSpec } from "../prep/transform.ts";
import type { OpenOptions } from "../source/open.ts";

export interface ServiceOptions {
  readonly source: OpenOptions;
  readonly transform: TransformSpec;
  readonly batchSize: number;
  /** Seed of jobs that name no place of their own. Default 0. */
  readonly seed?: number;
  readonly shuffle?: boolean;
  readonly dropLast?: boolean;
  /** This server's share of every epoch, when several servers train one model; default 0 of 1: all of it. */
  readonly rank?: number;
  readonly world?: number;
  /** Stores of a cache over servers, between the byte cache and storage. */
  readonly peers?: PeersOptions;
  /** Producer processes, default one per core. */
  readonly producers?: number;
  /** Bound of the staging ring, bytes; default eight batches. */
  readonly stagingBytes?: number;
  /** Bound of the byte cache; default 0: none. */
  readonly cacheBytes?: number;
  readonly cacheFolder?: string;
  /** Default: in this user's folder of shared memory, named after the data set. */
  readonly socket?: string;
  /** Default replace: one job's choice should not end the others. */
  readonly badSamples?: BadSamplePolicy;
  /** Seconds after which a job that holds others up loses its share; null (default): they wait. */
  readonly detachSeconds?: number | null;
  readonly inFlight?: number;
  readonly arenaBytes?: number;
  /** Folder for shared memory, default this user's in /dev/shm. */
  readonly sharedFolder?: string;
}
