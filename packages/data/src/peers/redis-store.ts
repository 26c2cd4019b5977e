/**
 * A store that speaks the Redis protocol (Redis, Valkey, KeyDB). Assumed: maxmemory-policy noeviction, which makes a full
 * store refuse instead of evicting. Sent: AUTH, SELECT, GET, SET and UNLINK, no other command; a user that may do
 * nothing else (`~millrace:* +get +set +unlink`) suffices.
 */
import { MillraceError } from "@millrace/core";
import type { Redis, RedisOptions } from "ioredis";
import type { PeerStore, PeerStoreOptions, StoreAddress, StoreAnswer } from "./peer-store.ts";

type RedisClass = new (options: RedisOptions) => Redis;

async function redisClass(): Promise<RedisClass> {
  try {
    return (await import("ioredis")).Redis;
  } catch (cause) {
    throw new MillraceError("ENVIRONMENT_MISSING", "the Redis client is not installed", {
      cause,
      hint: "npm install ioredis@6.0.0",
    });
  }
}

/** Connections are opened on demand and not kept alive by reconnecting: who asks decides when to try again. */
export class RedisStore implements PeerStore {
  readonly name: string;
  private readonly make: () => Redis;
  private readonly expireSeconds: number | undefined;
  private readonly clients: ({ client: Redis; ready: Promise<void>; busy: number } | null)[];
  private closed = false;

  private constructor(name: string, make: () => Redis, options: PeerStoreOptions) {
    this.name = name;
    this.make = make;
    this.expireSeconds = options.expireSeconds;
    this.clients = Array.from({ length: options.connections ?? 2 }, () => null);
  }

  static async open(address: StoreAddress, options: PeerStoreOptions): Promise<RedisStore> {
    const { host, port, username, password, database, secure } = address;
    const Client = await redisClass();
    const { timeoutSeconds = 2 } = options;
    const settings: RedisOptions = {
      host,
      port,
      ...(username !== undefined && { username }),
      ...(password !== undefined && { password }),
      ...(secure && { tls: { ...options.tls } }),
      db: database,
      lazyConnect: true,
      // A user may be allowed nothing but our three commands.
      enableReadyCheck: false,
      disableClientInfo: true,
      protocol: 2,
      enableOfflineQueue: false,
      autoResendUnfulfilledCommands: false,
      maxRetriesPerRequest: 0,
      retryStrategy: null,
      connectTimeout: timeoutSeconds * 1000,
      commandTimeout: timeoutSeconds * 1000,
    };
    const name = `redis${secure ? "s" : ""}://${host}:${port}`;
    return new RedisStore(name, () => new Client(settings), options);
  }

  get(key: string, into: Uint8Array): Promise<number> {
    return this.on(async (client) => {
      const value = await client.getBuffer(key);
      if (value === null) return -1;
      into.set(value.length > into.length ? value.subarray(0, into.length) : value);
      return value.length;
    });
  }

  async set(key: string, value: Uint8Array): Promise<StoreAnswer> {
    const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
    const { expireSeconds } = this;
    try {
      await this.on((client) =>
        expireSeconds === undefined
          ? client.set(key, bytes)
          : client.set(key, bytes, "EX", Math.ceil(expireSeconds)),
      );
      return "stored";
    } catch (error) {
      if (error instanceof Error && error.message.startsWith("OOM")) return "full";
      throw error;
    }
  }

  async delete(keys: readonly string[]): Promise<void> {
    for (let i = 0; i < keys.length; i += 512)
      await this.on((client) => client.unlink(...keys.slice(i, i + 512)));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.closed = true;
    for (const entry of this.clients) entry?.client.disconnect();
  }

  /** Runs a command on the least busy connection. */
  private async on<T>(command: (client: Redis) => Promise<T>): Promise<T> {
    if (this.closed) throw new Error(`${this.name} was closed`);
    let at = 0;
    for (let i = 1; i < this.clients.length; i++)
      if ((this.clients[i]?.busy ?? 0) < (this.clients[at]?.busy ?? 0)) at = i;
    const entry = this.clients[at] ?? this.connect(at);
    entry.busy++;
    try {
      await entry.ready;
      return await command(entry.client);
    } finally {
      entry.busy--;
    }
  }

  private connect(at: number): { client: Redis; ready: Promise<void>; busy: number } {
    const client = this.make();
    const entry = { client, ready: client.connect(), busy: 0 };
    this.clients[at] = entry;
    const gone = (): void => {
      if (this.clients[at] === entry) this.clients[at] = null;
    };
    client.on("end", gone);
    // Errors reach whoever waits for a command; an event nobody listens to would be printed.
    client.on("error", () => {});
    entry.ready.catch(() => {
      gone();
      client.disconnect();
    });
    return entry;
  }
}
