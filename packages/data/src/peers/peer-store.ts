/**
 * A cache spread over the servers of a training job (CoorDL §4.2, partitioned caching), on stores that sites run already:
 * Redis or memcached. Only ownership, bounds and fall-back are ours; memory, network and eviction are the store's. A
 * store is somebody else's too: only keys below our prefix are ever read, written or deleted, and nothing is configured.
 * Not promised: that what was stored is there later. Then the item comes from storage again.
 */

import type { ConnectionOptions } from "node:tls";
import { MillraceError } from "@millrace/core";

/** What a store said to a value. */
export type StoreAnswer = "stored" | "full";

/**
 * One store. Any number of calls may be in flight. All reject with Error when the store cannot be reached, does not
 * answer in time, or refuses; after a rejected `get` the buffer is not written to any more.
 */
export interface PeerStore extends AsyncDisposable {
  /** Address without secrets, for messages. */
  readonly name: string;
  /** Copies the value (as far as it fits) and gives its length, or -1 when there is none. */
  get(key: string, into: Uint8Array): Promise<number>;
  /** "full": the store keeps what it has and does not take this. */
  set(key: string, value: Uint8Array): Promise<StoreAnswer>;
  /** Deletes keys; those that are not there are no error. */
  delete(keys: readonly string[]): Promise<void>;
}

/** How to reach a store. */
export interface PeerStoreOptions {
  /** redis://, rediss://, memcached:// or memcacheds://; user and password may stand in it. */
  readonly url: string;
  readonly username?: string;
  readonly password?: string;
  /** For rediss and memcacheds: ca, cert, key, servername. Certificates are verified. */
  readonly tls?: Pick<ConnectionOptions, "ca" | "cert" | "key" | "servername">;
  /** Connections, default 2: one thread of a store serves each. */
  readonly connections?: number;
  /** Most seconds without an answer, default 2. */
  readonly timeoutSeconds?: number;
  /** Seconds that values live; default as long as the store keeps them. */
  readonly expireSeconds?: number;
}

/** The parts of a store's address. */
export interface StoreAddress {
  readonly protocol: "redis" | "memcached";
  readonly secure: boolean;
  readonly host: string;
  readonly port: number;
  readonly username: string | undefined;
  readonly password: string | undefined;
  readonly database: number;
}

const protocols: Readonly<
  Record<string, Pick<StoreAddress, "protocol" | "secure"> & { port: number }>
> = {
  "redis:": { protocol: "redis", secure: false, port: 6379 },
  "rediss:": { protocol: "redis", secure: true, port: 6379 },
  "memcached:": { protocol: "memcached", secure: false, port: 11211 },
  "memcacheds:": { protocol: "memcached", secure: true, port: 11211 },
};

/** Takes the address apart. Throws MillraceError CONFIG_INVALID, without showing a password. */
export function storeAddress({ url, username, password }: PeerStoreOptions): StoreAddress {
  const hint = "write redis://HOST:PORT or memcached://HOST:PORT; rediss and memcacheds use TLS";
  if (!URL.canParse(url))
    throw new MillraceError("CONFIG_INVALID", "a store's address is not a URL", { hint });
  const parsed = new URL(url);
  const known = protocols[parsed.protocol];
  const database = Number(parsed.pathname.replace(/^\//, "") || 0);
  if (known === undefined || parsed.hostname === "" || !Number.isInteger(database))
    throw new MillraceError(
      "CONFIG_INVALID",
      `${parsed.protocol}//${parsed.host}${parsed.pathname} is not the address of a store`,
      { hint },
    );
  const part = (text: string): string | undefined =>
    text === "" ? undefined : decodeURIComponent(text);
  return {
    protocol: known.protocol,
    secure: known.secure,
    host: parsed.hostname.replace(/^\[|\]$/g, ""),
    port: parsed.port === "" ? known.port : Number(parsed.port),
    username: username ?? part(parsed.username),
    password: password ?? part(parsed.password),
    database,
  };
}

/** Opens a store; connects when first used. Throws MillraceError CONFIG_INVALID or ENVIRONMENT_MISSING. */
export async function openPeerStore(options: PeerStoreOptions): Promise<PeerStore> {
  const address = storeAddress(options);
  if (address.protocol === "memcached") {
    const { MemcachedStore } = await import("./memcached-store.ts");
    return new MemcachedStore(address, options);
  }
  const { RedisStore } = await import("./redis-store.ts");
  return await RedisStore.open(address, options);
}
