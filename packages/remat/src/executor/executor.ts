/**
 * Trains a graph under a plan: places every buffer of the step in one piece of memory, binds the code to addresses, and
 * then only calls it. Runs where it is made, in a child process as a rule, since native code ends a process on failure.
 */
import { InvariantError, MillraceError } from "@millrace/core";
import { elements, type TrainingGraph } from "../graph/graph.ts";
import { blendStatistics } from "../kernels/batch-norm.ts";
import { sumOfSquares } from "../kernels/host.ts";
import { aligned, type Interval, livePeak, place, stepSearch } from "../placement/place.ts";
import type { Plan } from "../problem/plan.ts";
import { type BatchStream, loadBatch } from "./batch.ts";
import { type Buffer, type ParameterBuffers, residentKinds } from "./buffers.ts";
import { type EvaluationReport, Evaluator } from "./evaluation.ts";
import { KernelCache } from "./kernel-cache.ts";
import { StepMemory } from "./memory.ts";
import { type Optimizer, settingsOf, stateCount, update } from "./optimizer.ts";
import { type Machine, Runnable } from "./runnable.ts";
import { type Call, type Schedule, schedule } from "./schedule.ts";
import type { CostTable } from "./table.ts";

/** What a training run is made of. */
export interface TrainingSetup {
  readonly graph: TrainingGraph;
  readonly table: CostTable;
  /** Valid by the simulator, for the problem that `executorProblem` makes of graph and table. */
  readonly plan: Plan;
  readonly optimizer: Optimizer;
  /** Of dropout. */
  readonly seed: number;
}

/** Memory of a step, bytes. */
export interface MemoryReport {
  /** Most bytes of buffers in use at one time: what the plan predicts. */
  readonly livePeakBytes: number;
  /** Bytes of the memory, alignment and gaps between buffers included. */
  readonly arenaBytes: number;
  /** Parameters, optimizer state, network inputs, constants. */
  readonly fixedBytes: number;
  /** Whether guard pages lie around the memory. */
  readonly guarded: boolean;
}

/** What a step did. */
export interface StepReport {
  readonly loss: number;
  /** Euclidean norm of all parameters' gradients. */
  readonly gradientNorm: number;
  /** Forward, backward and update. */
  readonly seconds: number;
  /** Update alone. */
  readonly updateSeconds: number;
}

/** Called around each call of a step, for those who measure or verify. */
export interface StepObserver {
  before?(call: Call, index: number): void;
  after?(call: Call, index: number): void;
}

/** Share of a batch's statistics in the running ones (PyTorch's default). */
const momentum = 0.1;

export class TrainingExecutor implements Disposable {
  readonly setup: TrainingSetup;
  readonly memory: StepMemory;
  readonly report: MemoryReport;
  readonly schedule: Schedule;
  /** Offset of each buffer, bytes. */
  readonly offsets: Float64Array;
  /** End of what stays through the step, bytes. */
  readonly fixedEnd: number;
  readonly kernels = new KernelCache();
  readonly #machine: Machine;
  readonly #updates: readonly Runnable[];
  #evaluator: Evaluator | null = null;
  /** Optimizer steps done. */
  step = 0;

  constructor(machine: Machine, setup: TrainingSetup) {
    this.#machine = machine;
    this.setup = setup;
    const { graph, table, plan, optimizer } = setup;
    this.schedule = schedule(machine, this.kernels, graph, table, plan, stateCount(optimizer));
    const { buffers, calls, parameters, settings } = this.schedule;
    const placed = placeBuffers(buffers);
    this.offsets = placed.offsets;
    this.fixedEnd = placed.fixedEnd;
    this.memory = new StepMemory(machine.library, placed.bytes);
    this.report = {
      livePeakBytes: placed.livePeakBytes,
      arenaBytes: this.memory.bytesTotal,
      fixedBytes: placed.fixedBytes,
      guarded: this.memory.guarded,
    };
    for (const call of calls) {
      const at = new Map([...call.operands].map(([name, b]) => [name, this.#offset(b)] as const));
      call.runnable.bind(this.memory, at, call.workspace < 0 ? 0 : this.#offset(call.workspace));
    }
    const code = update(optimizer);
    const op = calls[0]?.runnable.op;
    if (op === undefined) throw new InvariantError("a plan without actions");
    this.#updates = parameters.map((parameter) => {
      const whole = { type: "f32", ne: [elements(parameter.dims)] } as const;
      const operands = new Map([
        ["w", parameter.value],
        ["g", parameter.gradient],
        ["settings", settings],
        ...parameter.state.map((s, i) => [`s${i}`, s] as const),
      ]);
      const shapes = new Map(
        [...operands.keys()].map((name) => [
          name,
          name === "settings" ? ({ type: "f32", ne: [7] } as const) : whole,
        ]),
      );
      const runnable = new Runnable(machine, this.kernels, code, op, shapes);
      const at = new Map([...operands].map(([name, b]) => [name, this.#offset(b)] as const));
      runnable.bind(this.memory, at, 0);
      return runnable;
    });
    this.#fillFixed();
  }

  #offset(buffer: number): number {
    return this.offsets[buffer] as number;
  }

  #bytes(buffer: number): number {
    return this.schedule.buffers[buffer]?.bytes ?? 0;
  }

  /** The f32 values of a buffer, in place. */
  values(buffer: number): Float32Array {
    return this.memory.floats(this.#offset(buffer), this.#bytes(buffer) / 4);
  }

  /** The bytes of a buffer, in place. */
  bytesOf(buffer: number): Uint8Array {
    return this.memory.bytes(this.#offset(buffer), this.#bytes(buffer));
  }

  /** Zeroes parameters, state and inputs, and writes constants and the first statistics: mean 0, variance 1. */
  #fillFixed(): void {
    const { buffers, constants, statistics } = this.schedule;
    buffers.forEach(({ kind }, i) => {
      if (residentKinds.has(kind)) this.values(i).fill(0);
    });
    for (const { buffer, values } of constants) {
      const { buffer: memory, byteOffset } = this.bytesOf(buffer);
      new Int32Array(memory, byteOffset, values.length).set(values);
    }
    for (const { running, channels } of statistics) this.values(running).fill(1, channels);
  }

  /** The parameters in the order of the graph. */
  get parameters(): readonly ParameterBuffers[] {
    return this.schedule.parameters;
  }

  /** Reads a batch into the step's memory, where it stays. Throws DATASET_INVALID when it does not fit the graph. */
  load(stream: BatchStream): void {
    const { inputs } = this.schedule;
    loadBatch(this.setup.graph, stream, (i) => this.bytesOf(inputs[i] as number));
  }

  /**
   * Forward, backward and update on the batch that was loaded. Throws LOSS_NOT_FINITE naming the step, before parameters
   * change, when the loss or a gradient is not a number.
   */
  train(observer: StepObserver = {}): StepReport {
    const began = performance.now();
    const loss = this.gradients(observer);
    const middle = performance.now();
    const gradientNorm = this.#checkedNorm(loss);
    this.step += 1;
    this.values(this.schedule.settings).set(settingsOf(this.setup.optimizer, this.step));
    const context = { seed: this.setup.seed, step: this.step, operator: 0 };
    for (const runnable of this.#updates) runnable.run(context);
    // Once a step, however often the plan computed the operator: recomputation must not count twice.
    for (const { batch, running, elements } of this.schedule.statistics)
      blendStatistics(this.values(running), this.values(batch), momentum, elements);
    const end = performance.now();
    const [seconds, updateSeconds] = [(end - began) / 1000, (end - middle) / 1000];
    return { loss, gradientNorm, seconds, updateSeconds };
  }

  /** Norm of all gradients. Throws LOSS_NOT_FINITE when it or the loss is no number: ggml's ReLU turns NaN into 0. */
  #checkedNorm(loss: number): number {
    let squares = 0;
    for (const { name, gradient } of this.parameters) {
      squares += sumOfSquares(this.values(gradient));
      if (Number.isFinite(loss) && Number.isFinite(squares)) continue;
      const what = Number.isFinite(loss) ? `a gradient of ${name}` : `the loss`;
      throw new MillraceError(
        "LOSS_NOT_FINITE",
        `${what} of step ${this.step + 1} is ${Number.isFinite(loss) ? "not finite" : loss}`,
        {
          hint: "lower the learning rate, or look at the batch; the parameters are those of the step before",
        },
      );
    }
    return Math.sqrt(squares);
  }

  /** Forward and backward alone on the batch that was loaded: gradients are then in their buffers. Gives the loss. */
  gradients(observer: StepObserver = {}): number {
    const { seed } = this.setup;
    let loss = Number.NaN;
    this.schedule.calls.forEach((call, i) => {
      observer.before?.(call, i);
      call.runnable.run({ seed, step: this.step, operator: call.operator });
      if (call.loss) loss = this.values(call.operands.get("y") as number)[0] as number;
      observer.after?.(call, i);
    });
    return loss;
  }

  /**
   * The loss of the batch that was loaded as the trained network sees it: no dropout, batch norm by running statistics. Uses
   * the step's memory between steps. Throws NOTHING_FITS where that is too small for it.
   */
  evaluate(): EvaluationReport {
    this.#evaluator ??= new Evaluator(this.#machine, this);
    return this.#evaluator.run();
  }

  [Symbol.dispose](): void {
    this.kernels[Symbol.dispose]();
    this.memory[Symbol.dispose]();
  }
}

/** What stays through the step lies first, one behind the other; the rest where it fits above. */
function placeBuffers(buffers: readonly Buffer[]) {
  const offsets = new Float64Array(buffers.length);
  let fixedBytes = 0;
  let fixedEnd = 0;
  const moving: number[] = [];
  buffers.forEach(({ kind, bytes }, i) => {
    if (!residentKinds.has(kind)) {
      moving.push(i);
      return;
    }
    offsets[i] = fixedEnd;
    fixedEnd += aligned(bytes);
    fixedBytes += bytes;
  });
  const intervals = moving.map((i): Interval => buffers[i] as Buffer);
  const placement = place(intervals, stepSearch);
  moving.forEach((i, m) => {
    offsets[i] = fixedEnd + (placement.offsets[m] as number);
  });
  return {
    offsets,
    fixedEnd,
    bytes: fixedEnd + placement.bytes,
    fixedBytes,
    livePeakBytes: fixedBytes + livePeak(intervals, 1),
  };
}
