/**
 * A store that speaks memcached's text protocol: get, set and delete, which every version and proxy knows. Values go from
 * the socket straight to where they are wanted. Start the server with -M, so that it refuses instead of evicting, and
 * with -I above the largest item. Auth is that of -Y (a set before all else), TLS that of -Z.
 */

import { MemcachedConnection } from "./memcached-connection.ts";
import type { PeerStore, PeerStoreOptions, StoreAddress, StoreAnswer } from "./peer-store.ts";

/** Connections are opened on demand, and given up as a whole when one answer is late or makes no sense. */
export class MemcachedStore implements PeerStore {
  readonly name: string;
  private readonly address: StoreAddress;
  private readonly options: PeerStoreOptions;
  private readonly connections: (MemcachedConnection | null)[];
  private closed = false;

  constructor(address: StoreAddress, options: PeerStoreOptions) {
    this.name = `memcached${address.secure ? "s" : ""}://${address.host}:${address.port}`;
    this.address = address;
    this.options = options;
    this.connections = Array.from({ length: options.connections ?? 2 }, () => null);
  }

  async get(key: string, into: Uint8Array): Promise<number> {
    const reply = await this.connection().ask(`get ${key}\r\n`, null, into);
    if (reply.line !== "END") throw new Error(`${this.name}: ${reply.line}`);
    return reply.length;
  }

  async set(key: string, value: Uint8Array): Promise<StoreAnswer> {
    const expire = Math.ceil(this.options.expireSeconds ?? 0);
    const head = `set ${key} 0 ${expire} ${value.length}\r\n`;
    const { line } = await this.connection().ask(head, value, null);
    if (line === "STORED") return "stored";
    // Both mean that the value will not fit: -M refuses, and -I bounds an item.
    if (/out of memory|too large/.test(line)) return "full";
    throw new Error(`${this.name}: ${line}`);
  }

  async delete(keys: readonly string[]): Promise<void> {
    const connection = this.connection();
    await Promise.all(keys.map((key) => connection.ask(`delete ${key}\r\n`, null, null)));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.closed = true;
    for (const connection of this.connections) connection?.close(new Error("closed"));
  }

  private connection(): MemcachedConnection {
    if (this.closed) throw new Error(`${this.name} was closed`);
    let at = 0;
    for (const [i, one] of this.connections.entries()) {
      if (one === null || one.broken) {
        at = i;
        break;
      }
      if (one.waiting < (this.connections[at]?.waiting ?? 0)) at = i;
    }
    const known = this.connections[at];
    if (known && !known.broken) return known;
    const { tls, timeoutSeconds = 2 } = this.options;
    const made = new MemcachedConnection(this.name, this.address, tls, timeoutSeconds);
    this.connections[at] = made;
    return made;
  }
}
