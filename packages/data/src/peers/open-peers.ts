/** The servers' cache from plain data: what a flag, a job file or another process says of its members. */
import { parseBytes } from "@millrace/core";
import type { StorageReader } from "../fetch/storage-reader.ts";
import type { Source } from "../source/source.ts";
import { readManifest } from "./manifest.ts";
import { evenBytes } from "./ownership.ts";
import { PartitionedReader } from "./partitioned-reader.ts";
import { openPeerStore, storeAddress } from "./peer-store.ts";

/** A member of the cache. Every server names the same members, with the same bytes. */
export interface PeerSpec {
  /** redis://HOST:PORT, rediss://, memcached:// or memcacheds://. */
  readonly url: string;
  /** Bytes that it offers for this data set; default an even share of it, with room for what hashing makes uneven. */
  readonly bytes?: number;
}

export interface PeersOptions {
  readonly members: readonly PeerSpec[];
  /** Checksums of the items (`writeManifest`), which what stores give is held against. */
  readonly manifest?: string;
}

/** `redis://host:6379`, or `redis://host:6379,200GB`. Throws MillraceError CONFIG_INVALID. */
export function parsePeer(text: string): PeerSpec {
  const comma = text.lastIndexOf(",");
  const url = (comma < 0 ? text : text.slice(0, comma)).trim();
  storeAddress({ url });
  return { url, ...(comma >= 0 && { bytes: parseBytes(text.slice(comma + 1), "--peer") }) };
}

/**
 * Opens the stores and puts them in front of `storage`, which is taken over. User and password that no address holds
 * come from MILLRACE_PEER_USER and MILLRACE_PEER_PASSWORD, so that they need not stand in a command line. Members are
 * known by host and port. Throws MillraceError CONFIG_INVALID, ENVIRONMENT_MISSING, and what the manifest throws.
 */
export async function openPeers(
  source: Source,
  { members, manifest }: PeersOptions,
  storage: StorageReader,
  environment: Readonly<Record<string, string | undefined>> = process.env,
): Promise<PartitionedReader> {
  const even = evenBytes(source, members.length);
  const username = environment["MILLRACE_PEER_USER"];
  const password = environment["MILLRACE_PEER_PASSWORD"];
  const digests = manifest === undefined ? null : readManifest(manifest, source);
  const opened = await Promise.all(
    members.map(async ({ url, bytes = even }) => {
      const address = storeAddress({ url });
      const secrets =
        address.password === undefined && password !== undefined
          ? { password, ...(username !== undefined && { username }) }
          : {};
      return {
        name: `${address.host}:${address.port}`,
        bytes,
        store: await openPeerStore({ url, ...secrets }),
      };
    }),
  );
  try {
    return new PartitionedReader({
      source,
      members: opened,
      storage,
      ...(digests !== null && { digest: (item: number) => digests[item] }),
    });
  } catch (error) {
    for (const { store } of opened) await store[Symbol.asyncDispose]();
    throw error;
  }
}
