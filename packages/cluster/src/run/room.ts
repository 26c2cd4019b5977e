/** What is free on the servers while a plan is being carried out: a start waits until those before it have let go. Pure. */
import type { ServerState } from "../contracts.ts";
import type { GrantedSlice } from "../runners/runner.ts";

/** Tolerances of sums of fractional cores, and of memory that engines count in MiB. */
const slack = { cpus: 1e-6, bytes: 2 ** 20 };

export class Room {
  private readonly servers: ReadonlyMap<string, ServerState>;
  private readonly held = new Map<string, GrantedSlice[]>();

  constructor(servers: readonly ServerState[]) {
    this.servers = new Map(servers.map((server) => [server.name, server]));
  }

  take(slices: readonly GrantedSlice[]): void {
    for (const slice of slices) {
      const held = this.held.get(slice.server);
      if (held === undefined) this.held.set(slice.server, [slice]);
      else held.push(slice);
    }
  }

  release(slices: readonly GrantedSlice[]): void {
    for (const slice of slices) {
      const held = this.held.get(slice.server) ?? [];
      const at = held.indexOf(slice);
      if (at >= 0) held.splice(at, 1);
    }
  }

  /** Whether these fit beside what is taken. Caches that jobs share are the plan's matter: they count once at least. */
  fits(slices: readonly GrantedSlice[]): boolean {
    return slices.every((slice) => {
      const server = this.servers.get(slice.server);
      if (server === undefined || server.condition === "down") return false;
      const held = this.held.get(slice.server) ?? [];
      const sum = (of: (s: GrantedSlice) => number) => held.reduce((n, s) => n + of(s), of(slice));
      return (
        slice.gpus.every((gpu) => !held.some((other) => other.gpus.includes(gpu))) &&
        sum((s) => s.cpus) <= server.cpus + slack.cpus &&
        sum((s) => s.hostBytes - s.cacheBytes) <= server.hostBytes + slack.bytes * (held.length + 1)
      );
    });
  }
}
