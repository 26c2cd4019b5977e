/** Shards from the parent's side: in a process of their own, or in this one for tests and small programs. */
import { type ChildProcess, fork } from "node:child_process";
import { createRequire } from "node:module";
import { fileURLToPath, pathToFileURL } from "node:url";
import { InvariantError } from "@millrace/core";
import type { WorkerHealth } from "../contracts.ts";
import { Shard, type ShardConfig, type ShardEvents, type ShardJob } from "./shard.ts";
import type { FromShard, ToShard } from "./shard-protocol.ts";

/** A shard wherever it runs. `died` of the events is called at most once, and nothing after it. */
export interface ShardHost {
  begin(epochNs: bigint, measure: boolean): Promise<void>;
  give(jobs: readonly ShardJob[]): void;
  stop(drain: boolean): void;
  measure(): Promise<WorkerHealth | null>;
  close(): void;
}

export interface HostEvents extends ShardEvents {
  died(how: string): void;
}

/** A shard in this process. */
export function inlineShard(config: ShardConfig, events: HostEvents): ShardHost {
  return new Shard(config, events);
}

const source = import.meta.url.endsWith(".ts");

/** Sources need the TypeScript loader and the packages' source entries, built modules need nothing. */
function loaderFlags(): string[] {
  if (!source) return [];
  const tsx = pathToFileURL(createRequire(import.meta.url).resolve("tsx")).href;
  return ["--conditions=millrace:source", "--import", tsx];
}

/** A shard in a process of its own. */
export function forkedShard(config: ShardConfig, events: HostEvents): ShardHost {
  return new ForkedShard(config, events);
}

class ForkedShard implements ShardHost {
  private readonly child: ChildProcess;
  private readonly events: HostEvents;
  private readonly begun: ((error: Error | null) => void)[] = [];
  private readonly measured: ((health: WorkerHealth | null) => void)[] = [];
  private closed = false;

  constructor(config: ShardConfig, events: HostEvents) {
    this.events = events;
    const program = new URL(source ? "./shard-child.ts" : "./shard-child.js", import.meta.url);
    this.child = fork(fileURLToPath(program), [], {
      // Young objects die between two collections when there is room for them: fewer pauses in the receiving process.
      execArgv: [...loaderFlags(), "--max-semi-space-size=8"],
      serialization: "advanced",
      stdio: ["ignore", "ignore", "inherit", "ipc"],
    });
    this.child.on("message", (message: FromShard) => this.take(message));
    this.child.once("exit", (code, signal) => this.gone(signal ?? `exit code ${code}`));
    this.child.once("error", (error) => this.gone(error.message));
    this.post({ kind: "configure", config });
  }

  begin(epochNs: bigint, measure: boolean): Promise<void> {
    this.post({ kind: "begin", epochNs, measure });
    return new Promise((resolve, reject) => {
      this.begun.push((error) => (error === null ? resolve() : reject(error)));
    });
  }

  give(jobs: readonly ShardJob[]): void {
    this.post({ kind: "give", jobs });
  }

  stop(drain: boolean): void {
    this.post({ kind: "stop", drain });
  }

  measure(): Promise<WorkerHealth | null> {
    if (!this.child.connected) return Promise.resolve(null);
    this.post({ kind: "measure" });
    return new Promise((resolve) => this.measured.push(resolve));
  }

  close(): void {
    this.closed = true;
    if (this.child.connected) this.child.disconnect();
  }

  private post(message: ToShard): void {
    // A failure to deliver is followed by the exit event.
    if (this.child.connected) this.child.send(message, () => {});
  }

  private take(message: FromShard): void {
    switch (message.kind) {
      case "begun":
        this.begun.shift()?.(null);
        break;
      case "started":
        this.events.started(message.index);
        break;
      case "ended":
        this.events.ended(message.index, message.end);
        break;
      case "measured":
        this.measured.shift()?.(message.health);
        break;
      case "broken":
        this.gone(message.message);
        break;
    }
  }

  private gone(how: string): void {
    for (const resolve of this.measured.splice(0)) resolve(null);
    for (const settle of this.begun.splice(0))
      settle(new InvariantError(`a load generating process could not start: ${how}`));
    if (this.closed) return;
    this.closed = true;
    this.events.died(how);
  }
}
