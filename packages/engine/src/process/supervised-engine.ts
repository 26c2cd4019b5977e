/** `startEngine`: an EngineClient whose engine lives in a process that is started again when it dies. */
import { MillraceError } from "@millrace/core";
import type {
  EngineClient,
  EngineOptions,
  EngineStats,
  GenerateEvent,
  GenerateRequest,
  ModelCard,
  StepTiming,
} from "../contracts.ts";
import { EngineProcess } from "./engine-process.ts";

/** Seconds before the first restart; doubled up to the longest while the process does not stay alive. */
const FIRST_DELAY_SECONDS = 0.25;
const LONGEST_DELAY_SECONDS = 30;
/** A process that lived this long starts the delays from the first again. */
const HEALTHY_SECONDS = 60;
const CLOSE_GRACE_SECONDS = 5;

export interface StartEngineOptions {
  readonly onProgress?: (what: string, share: number | null) => void;
  /** What happens to the process: ends, restarts, failures to restart. */
  readonly onEvent?: (event: "ended" | "restarted" | "restart-failed", detail: string) => void;
  /** Lines that the engine's process writes to stderr. */
  readonly onLine?: (line: string) => void;
  /** ES module whose export `createEngine` makes the engine in the process. */
  readonly module: URL;
}

/** Starts the engine's process and waits until the model is loaded. Rejects with what the engine refused. */
export async function startEngine(
  engine: EngineOptions,
  options: StartEngineOptions,
): Promise<SupervisedEngine> {
  const supervised = new SupervisedEngine(engine, options);
  await supervised.started;
  return supervised;
}

export class SupervisedEngine implements EngineClient {
  /** Resolves when the first process has loaded the model. */
  readonly started: Promise<void>;
  private engine: EngineOptions;
  private readonly options: StartEngineOptions;
  private readonly listeners = new Set<(step: StepTiming) => void>();
  private process: EngineProcess;
  private loadedCard: ModelCard | null = null;
  private alive = false;
  private closing = false;
  private draining = false;
  private restarts = 0;
  private delaySeconds = FIRST_DELAY_SECONDS;
  private restartTimer: NodeJS.Timeout | null = null;

  constructor(engine: EngineOptions, options: StartEngineOptions) {
    this.engine = engine;
    this.options = options;
    this.process = this.launch();
    this.started = this.process.loaded.then((card) => this.adopt(card));
    this.started.then(
      () => this.watch(this.process),
      () => {},
    );
  }

  /** The model's card; known once `started` has resolved. */
  get card(): ModelCard {
    if (this.loadedCard === null)
      throw new MillraceError("ENGINE_FAILED", "the model is not loaded yet");
    return this.loadedCard;
  }

  get ready(): boolean {
    return this.alive && !this.draining && !this.closing && this.process.remote.ready;
  }

  /** Process id of the engine, undefined while it is down. */
  get pid(): number | undefined {
    return this.alive ? this.process.pid : undefined;
  }

  generate(request: GenerateRequest, signal: AbortSignal): AsyncIterable<GenerateEvent> {
    return this.process.remote.generate(request, signal);
  }

  tokenize(
    text: string,
    options: { readonly addSpecial: boolean; readonly parseSpecial: boolean },
  ): Promise<Int32Array> {
    return this.process.remote.call({ name: "tokenize", text, ...options });
  }

  detokenize(tokens: Int32Array): Promise<string> {
    return this.process.remote.call({ name: "detokenize", tokens });
  }

  pieces(tokens: Int32Array): Promise<readonly Uint8Array[]> {
    return this.process.remote.call({ name: "pieces", tokens });
  }

  embed(inputs: readonly Int32Array[], signal: AbortSignal): Promise<readonly Float32Array[]> {
    return this.process.remote.call({ name: "embed", inputs }, signal);
  }

  async stats(): Promise<EngineStats> {
    const stats = await this.process.remote.call({ name: "stats" });
    return { ...stats, restarts: this.restarts };
  }

  async switchScheduler(
    type: string,
    parameters: Readonly<Record<string, unknown>>,
  ): Promise<void> {
    await this.process.remote.call({ name: "switchScheduler", type, parameters });
    // The engine has checked type and knobs; a process that is started again begins with them.
    const { timeoutSeconds: _, ...knobs } = parameters;
    const scheduler = { ...this.engine.scheduler, ...knobs, type } as EngineOptions["scheduler"];
    this.engine = { ...this.engine, scheduler };
  }

  async drain(timeoutSeconds: number): Promise<void> {
    this.draining = true;
    if (!this.alive) return;
    try {
      await this.process.remote.call({ name: "drain", timeoutSeconds });
    } catch (error) {
      // A process that ended has nothing left to drain.
      if (this.alive) throw error;
    }
  }

  onStep(listener: (step: StepTiming) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  async close(): Promise<void> {
    this.closing = true;
    if (this.restartTimer !== null) clearTimeout(this.restartTimer);
    await this.process.close(CLOSE_GRACE_SECONDS);
    this.process.remote.lost("the engine was closed", this.delaySeconds);
    this.alive = false;
  }

  private launch(): EngineProcess {
    return new EngineProcess({
      engine: this.engine,
      module: this.options.module,
      onStep: (step) => {
        for (const listener of this.listeners) listener(step);
      },
      ...(this.options.onProgress === undefined ? {} : { onProgress: this.options.onProgress }),
      ...(this.options.onLine === undefined ? {} : { onLine: this.options.onLine }),
    });
  }

  private adopt(card: ModelCard): void {
    this.loadedCard = card;
    this.alive = true;
  }

  /** Follows a loaded process to its end, then starts the next. */
  private watch(process: EngineProcess): void {
    const since = performance.now();
    void process.ended.then((reason) => {
      this.alive = false;
      if (performance.now() - since > 1000 * HEALTHY_SECONDS)
        this.delaySeconds = FIRST_DELAY_SECONDS;
      process.remote.lost(reason, this.delaySeconds);
      if (this.closing) return;
      this.options.onEvent?.("ended", reason);
      // Who drains takes no more requests, so nobody needs another process.
      if (!this.draining) this.restartLater();
    });
  }

  private restartLater(): void {
    const delay = this.delaySeconds;
    this.delaySeconds = Math.min(LONGEST_DELAY_SECONDS, 2 * delay);
    this.restartTimer = setTimeout(() => void this.restart(), 1000 * delay);
  }

  private async restart(): Promise<void> {
    const process = this.launch();
    this.process = process;
    try {
      this.adopt(await process.loaded);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      process.remote.lost(reason, this.delaySeconds);
      if (this.closing) return;
      this.options.onEvent?.("restart-failed", reason);
      this.restartLater();
      return;
    }
    this.restarts++;
    this.options.onEvent?.(
      "restarted",
      `after ${this.restarts} ${this.restarts === 1 ? "restart" : "restarts"}`,
    );
    this.watch(process);
  }
}
