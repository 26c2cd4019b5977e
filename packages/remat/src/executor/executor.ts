/**
 * Trains a graph under a plan: places every buffer of the step in one piece of memory, binds the code to addresses, and
 * then only calls it. Runs where it is made, in a child process as a rule, since native code ends a process on failure.
 */
import { InvariantError, MillraceError } from "@millrace/core";
import { elements, type TrainingGraph } from "../graph/graph.ts";
import { sumOfSquares } from "../kernels/host.ts";
import type { Plan } from "../problem/plan.ts";
import { StepMemory } from "./memory.ts";
import { labelPlaces } from "./operators/loss.ts";
import { type Optimizer, settingsOf, stateCount, update } from "./optimizer.ts";
import { aligned, type Interval, livePeak, place } from "./place.ts";
import { type Machine, Runnable } from "./runnable.ts";
import {
  type Buffer,
  type Call,
  type ParameterBuffers,
  type Schedule,
  schedule,
} from "./schedule.ts";
import { classesOf } from "./shapes.ts";
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

/** Data of one step by network input: f32 in the graph's order of dimensions, i32 for tokens and labels. */
export type BatchData = Readonly<Record<string, Float32Array | Int32Array>>;

/** Called around each call of a step, for those who measure or verify. */
export interface StepObserver {
  before?(call: Call, index: number): void;
  after?(call: Call, index: number): void;
}

const resident = new Set<Buffer["kind"]>(["parameter", "optimizer", "input", "constant"]);

export class TrainingExecutor implements Disposable {
  readonly setup: TrainingSetup;
  readonly memory: StepMemory;
  readonly report: MemoryReport;
  readonly schedule: Schedule;
  /** Offset of each buffer, bytes. */
  readonly offsets: Float64Array;
  readonly #updates: readonly Runnable[];
  /** Optimizer steps done. */
  step = 0;

  constructor(machine: Machine, setup: TrainingSetup) {
    this.setup = setup;
    const { graph, table, plan, optimizer } = setup;
    this.schedule = schedule(machine, graph, table, plan, stateCount(optimizer));
    const { buffers, calls, parameters, settings } = this.schedule;
    const placed = placeBuffers(buffers);
    this.offsets = placed.offsets;
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
      const runnable = new Runnable(machine, code, op, shapes);
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

  #integers(buffer: number): Int32Array {
    const { buffer: memory, byteOffset } = this.memory.bytes(
      this.#offset(buffer),
      this.#bytes(buffer),
    );
    return new Int32Array(memory, byteOffset, this.#bytes(buffer) / 4);
  }

  /** Zeroes parameters, state and inputs, and writes the constants. */
  #fillFixed(): void {
    const { buffers, constants } = this.schedule;
    buffers.forEach(({ kind }, i) => {
      if (resident.has(kind)) this.values(i).fill(0);
    });
    for (const { buffer, values } of constants) this.#integers(buffer).set(values);
  }

  /** The parameters in the order of the graph. */
  get parameters(): readonly ParameterBuffers[] {
    return this.schedule.parameters;
  }

  /**
   * Forward, backward and update on one batch. Throws DATASET_INVALID when the data does not fit the graph's inputs and
   * LOSS_NOT_FINITE naming the step, before parameters change, when the loss or a gradient is not a number.
   */
  train(batch: BatchData, observer: StepObserver = {}): StepReport {
    this.#load(batch);
    const began = performance.now();
    const loss = this.#passes(observer);
    const middle = performance.now();
    const gradientNorm = this.#checkedNorm(loss);
    this.step += 1;
    this.values(this.schedule.settings).set(settingsOf(this.setup.optimizer, this.step));
    const context = { seed: this.setup.seed, step: this.step, operator: 0 };
    for (const runnable of this.#updates) runnable.run(context);
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

  /** Forward and backward alone: gradients are then in their buffers. Gives the loss. */
  gradients(batch: BatchData, observer: StepObserver = {}): number {
    this.#load(batch);
    return this.#passes(observer);
  }

  #passes(observer: StepObserver): number {
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

  #load(batch: BatchData): void {
    const { graph } = this.setup;
    graph.inputs.forEach(({ name, dims, type }, i) => {
      const given = batch[name];
      const wanted = type === "i32" ? Int32Array : Float32Array;
      if (!(given instanceof wanted) || given.length !== elements(dims))
        throw new MillraceError(
          "DATASET_INVALID",
          `the batch needs ${elements(dims)} ${type} values of ${name}, not ${given?.length ?? "none"}`,
        );
      const buffer = this.schedule.inputs[i] as number;
      if (given instanceof Int32Array) this.#loadNumbers(i, given, this.#integers(buffer));
      else if (dims.length === 4) loadImages(given, dims, this.values(buffer));
      else this.values(buffer).set(given);
    });
  }

  /** Tokens are row numbers, labels places among logits; both are checked, since ggml would end the process. */
  #loadNumbers(input: number, given: Int32Array, into: Int32Array): void {
    const { graph } = this.setup;
    const reader = graph.operators.find(({ reads }) => reads.includes(input));
    const isLabel = reader?.operation.kind === "crossEntropy";
    const source = isLabel ? graph.operators[reader.inputs[0] as number]?.dims : undefined;
    const limit = isLabel ? classesOf(source ?? []) : (reader?.parameters[0]?.dims[0] as number);
    const bad = given.find((value) => value < 0 || value >= limit);
    if (bad !== undefined)
      throw new MillraceError(
        "DATASET_INVALID",
        `${graph.inputs[input]?.name} holds ${bad}, which is not in 0 … ${limit - 1}`,
      );
    if (isLabel) labelPlaces(given, limit, into);
    else into.set(given);
  }

  [Symbol.dispose](): void {
    for (const { runnable } of this.schedule.calls) runnable[Symbol.dispose]();
    for (const runnable of this.#updates) runnable[Symbol.dispose]();
    this.memory[Symbol.dispose]();
  }
}

/** [N, C, H, W] to the executor's order, in which a channel's images are adjacent. */
function loadImages(from: Float32Array, dims: readonly number[], into: Float32Array): void {
  const [n, c, h, w] = dims as readonly [number, number, number, number];
  const plane = h * w;
  for (let image = 0; image < n; image++)
    for (let channel = 0; channel < c; channel++) {
      const at = (image * c + channel) * plane;
      into.set(from.subarray(at, at + plane), (channel * n + image) * plane);
    }
}

/** What stays through the step lies first, one behind the other; the rest where it fits above. */
function placeBuffers(buffers: readonly Buffer[]) {
  const offsets = new Float64Array(buffers.length);
  let fixedBytes = 0;
  let fixedEnd = 0;
  const moving: number[] = [];
  buffers.forEach(({ kind, bytes }, i) => {
    if (!resident.has(kind)) {
      moving.push(i);
      return;
    }
    offsets[i] = fixedEnd;
    fixedEnd += aligned(bytes);
    fixedBytes += bytes;
  });
  const intervals = moving.map((i): Interval => buffers[i] as Buffer);
  const placement = place(intervals);
  moving.forEach((i, m) => {
    offsets[i] = fixedEnd + (placement.offsets[m] as number);
  });
  return {
    offsets,
    bytes: fixedEnd + placement.bytes,
    fixedBytes,
    livePeakBytes: fixedBytes + livePeak(intervals, 1),
  };
}
