/** The producers of a service: child processes that are replaced when they end. */
import { type ChildProcess, fork } from "node:child_process";
import { createRequire } from "node:module";
import { fileURLToPath, pathToFileURL } from "node:url";
import { type ErrorCode, errorCodes, MillraceError } from "@millrace/core";
import type { FromProducer, ProducerSetup, ToProducer } from "./producer-protocol.ts";

/** What the crew tells its owner. */
export interface CrewEvents {
  /** The producer takes leases from now on. */
  ready(name: number): void;
  made(name: number, message: FromProducer & { readonly kind: "made" }): void;
  /** The process has ended and writes nothing any more. */
  gone(name: number): void;
  /** No producer can start; the crew is of no use. */
  broken(error: MillraceError): void;
}

interface Producer {
  readonly child: ChildProcess;
  readonly name: number;
  ready: boolean;
}

const program = new URL(
  import.meta.url.endsWith(".ts") ? "./producer.ts" : "./producer.js",
  import.meta.url,
);
/** So many beyond the number of producers may end in a row before they are ready; then none can, or they wait. */
const stillbornMost = 3;
const longestPauseMs = 30_000;

export class Crew implements AsyncDisposable {
  /** Producers that ended unasked and were replaced. */
  replaced = 0;
  private wanted: number;
  private readonly events: CrewEvents;
  private setup: ProducerSetup;
  private readonly all = new Map<number, Producer>();
  private next = 0;
  /** Producers are ending on request, and start again when all have. */
  private restarting = false;
  /** Producers in a row that ended before they were ready. */
  private stillborn = 0;
  private readonly pauses = new Set<NodeJS.Timeout>();
  private closing = false;

  constructor(wanted: number, setup: ProducerSetup, events: CrewEvents) {
    this.wanted = wanted;
    this.setup = setup;
    this.events = events;
    this.hireAll();
  }

  get size(): number {
    return this.all.size;
  }

  /** Of all, or of those that take leases already. */
  pids(ready = false): number[] {
    return [...this.all.values()].flatMap((producer) =>
      producer.ready || !ready ? (producer.child.pid ?? []) : [],
    );
  }

  pid(name: number): number {
    return this.all.get(name)?.child.pid ?? 0;
  }

  send(name: number, message: ToProducer): void {
    this.all.get(name)?.child.send(message);
  }

  /** Ends a producer that hangs; it is replaced. */
  kill(name: number): void {
    this.all.get(name)?.child.kill("SIGKILL");
  }

  /** Ends all producers, which hold no leases, and starts so many with another setup when the last has ended. */
  restart(setup: ProducerSetup, wanted: number): void {
    this.setup = setup;
    this.wanted = wanted;
    this.restarting = true;
    for (const { name, child } of this.all.values()) {
      this.events.gone(name);
      child.send({ kind: "end" } satisfies ToProducer);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.closing = true;
    for (const timer of this.pauses) clearTimeout(timer);
    await Promise.all([...this.all.values()].map(({ child }) => endOf(child)));
  }

  private hireAll(): void {
    for (let i = 0; i < this.wanted; i++) this.hire();
  }

  private hire(): void {
    const name = this.next++;
    const child = fork(fileURLToPath(program), [], {
      execArgv: loaderFlags(),
      serialization: "advanced",
      stdio: ["ignore", "inherit", "inherit", "ipc"],
    });
    const producer: Producer = { child, name, ready: false };
    this.all.set(name, producer);
    child.on("message", (message: FromProducer) => {
      if (this.closing) return;
      if (message.kind === "ready") {
        producer.ready = true;
        this.stillborn = 0;
        this.events.ready(name);
      } else if (message.kind === "made") this.events.made(name, message);
      else {
        const code =
          message.code in errorCodes ? (message.code as ErrorCode) : "DATA_SERVICE_FAILED";
        this.events.broken(new MillraceError(code, message.message));
      }
    });
    // A channel that broke shows as the end of the process.
    child.on("error", () => {});
    child.once("exit", () => this.lost(producer));
    child.send(this.setup satisfies ToProducer);
  }

  private lost(producer: Producer): void {
    this.all.delete(producer.name);
    if (this.closing) return;
    this.events.gone(producer.name);
    if (this.restarting) {
      if (this.all.size > 0) return;
      this.restarting = false;
      this.hireAll();
      return;
    }
    this.replaced++;
    if (!producer.ready) this.stillborn++;
    const beyond = this.stillborn - this.wanted - stillbornMost;
    if (beyond < 0) this.hire();
    else if (![...this.all.values()].some(({ ready }) => ready))
      this.events.broken(
        new MillraceError("DATA_SERVICE_FAILED", "producers end before they are ready"),
      );
    // Others work on: whatever ends this one (a lack of memory, say) may pass.
    else this.hireLater(Math.min(longestPauseMs, 1000 * 2 ** Math.min(beyond, 5)));
  }

  private hireLater(pauseMs: number): void {
    const timer = setTimeout(() => {
      this.pauses.delete(timer);
      if (!this.closing && !this.restarting && this.all.size < this.wanted) this.hire();
    }, pauseMs);
    this.pauses.add(timer);
  }
}

/** Ends a producer at once: its work is nobody's any more. */
function endOf(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) resolve();
    else {
      child.once("exit", () => resolve());
      child.kill("SIGKILL");
    }
  });
}

/** Sources need the TypeScript loader in producers, built modules need nothing. */
function loaderFlags(): string[] {
  if (!import.meta.url.endsWith(".ts")) return [];
  const tsx = pathToFileURL(createRequire(import.meta.url).resolve("tsx")).href;
  return ["--conditions=millrace:source", "--import", tsx];
}
