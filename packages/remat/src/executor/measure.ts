/**
 * Measures every implementation of a graph's operators on this machine: its workspace from the code itself, its time as
 * the median of runs on random data. Before each run the caches are brought to the state they have within a step: what
 * the operator before has just made is there (inputs forward, the output's gradient backward), all else has gone. Alike
 * operators are measured once.
 */

import { cpus } from "node:os";
import { InvariantError, Rng } from "@millrace/core";
import { cpuVariant, GuardedMemory, TensorBuffer } from "@millrace/ggml";
import type { TrainingGraph } from "../graph/graph.ts";
import { floatsOf, sumOfSquares } from "../kernels/host.ts";
import { aligned } from "../placement/place.ts";
import {
  type BackwardForm,
  backwardForms,
  forwardForms,
  needsOf,
  plannerNeed,
} from "./implementations.ts";
import type { OperandShape } from "./kernel.ts";
import { KernelCache } from "./kernel-cache.ts";
import { backwardOperands, forwardOperands } from "./operands.ts";
import type { BackwardPart, Code, OperatorKind, OperatorShape } from "./operators/operator.ts";
import { type Optimizer, optimizers, update } from "./optimizer.ts";
import { type Machine, type OperandShapes, operandBytes, Runnable } from "./runnable.ts";
import { kindOf, operatorShape, signatureOf } from "./shapes.ts";
import type { BackwardRow, CostTable, ForwardRow, OperatorRows } from "./table.ts";

export interface MeasureOptions {
  /** Seconds to spend on one implementation at most, beside its first run; 0 asks for workspaces alone: times are 0 and no implementation is left out. */
  readonly seconds: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (done: number, of: number, what: string) => void;
  /** Rows known already, by signature. */
  readonly known?: CostTable;
}

type Row = ForwardRow | BackwardRow;

const context = { seed: 0, step: 0, operator: 0 };

/** Fewest and most timed runs. */
const runs = { least: 3, most: 15 } as const;

/** What is written between two runs, so that nothing of the operands stays in caches of a usual size. */
const sweepBytes = 48 * 2 ** 20;
const lineBytes = 64;

function median(values: number[]): number {
  values.sort((a, b) => a - b);
  return values[values.length >> 1] ?? 0;
}

/** Memory to try code in, filled with numbers that every operator can compute with. */
class Bench implements Disposable {
  readonly #machine: Machine;
  readonly #seconds: number;
  #memory: GuardedMemory | null = null;
  #buffer: TensorBuffer | null = null;
  readonly #sweep: Uint8Array;

  constructor(machine: Machine, seconds: number) {
    this.#machine = machine;
    this.#seconds = seconds;
    this.#sweep = new Uint8Array(seconds === 0 ? 0 : sweepBytes);
  }

  get timed(): boolean {
    return this.#seconds > 0;
  }

  /** Workspace and seconds of code on operands of these shapes. */
  try(
    code: Code,
    op: OperatorShape,
    shapes: OperandShapes,
    constants: ReadonlyMap<string, Int32Array>,
  ): { readonly workspaceBytes: number; readonly seconds: number } {
    using kernels = new KernelCache();
    const runnable = new Runnable(this.#machine, kernels, code, op, shapes);
    const { workspaceBytes } = runnable;
    if (this.#seconds === 0) return { workspaceBytes, seconds: 0 };
    const offsets = new Map<string, number>();
    let bytes = 0;
    for (const [name, shape] of shapes) {
      offsets.set(name, bytes);
      bytes += aligned(operandBytes(shape));
    }
    const { memory, buffer } = this.#room(bytes + aligned(workspaceBytes) + 64);
    for (const [name, shape] of shapes) {
      const view = memory.view(offsets.get(name) as number, operandBytes(shape)) as Uint8Array;
      fill(view, name, shape.type === "f32", constants.get(name));
    }
    const place = {
      address: memory.address,
      buffer: buffer.address,
      bytes: (at: number, length: number) => memory.view(at, length) as Uint8Array,
    };
    runnable.bind(place, offsets, bytes);
    const fresh = [...shapes]
      .filter(([name]) => isFresh(name, shapes))
      .map(([name, shape]) => memory.view(offsets.get(name) as number, operandBytes(shape)));
    return { workspaceBytes, seconds: this.#time(() => runnable.run(context), fresh) };
  }

  #time(run: () => void, fresh: readonly Uint8Array[]): number {
    run();
    const taken: number[] = [];
    const began = performance.now();
    while (
      taken.length < runs.least ||
      (taken.length < runs.most && performance.now() - began < 1000 * this.#seconds)
    ) {
      this.#sweep.fill(taken.length);
      for (const bytes of fresh) touch(bytes);
      const start = performance.now();
      run();
      taken.push((performance.now() - start) / 1000);
    }
    return median(taken);
  }

  #room(bytes: number): { readonly memory: GuardedMemory; readonly buffer: TensorBuffer } {
    if (this.#memory === null || this.#buffer === null || this.#memory.bytes < bytes) {
      this[Symbol.dispose]();
      const memory = new GuardedMemory(aligned(bytes));
      this.#memory = memory;
      this.#buffer = TensorBuffer.over(this.#machine.library, memory.address, memory.bytes, memory);
    }
    return { memory: this.#memory, buffer: this.#buffer };
  }

  [Symbol.dispose](): void {
    this.#buffer?.[Symbol.dispose]();
    this.#memory?.[Symbol.dispose]();
    this.#buffer = null;
    this.#memory = null;
  }
}

/** Whether the operator before has just made an operand: the output's gradient, else the inputs or what is overwritten. */
function isFresh(name: string, shapes: OperandShapes): boolean {
  if (shapes.has("dy")) return name === "dy";
  return shapes.has("x0") ? name.startsWith("x") : name === "y";
}

/** Brings bytes into the caches: one of every line is written as it is. */
function touch(bytes: Uint8Array): void {
  for (let i = 0; i < bytes.length; i += lineBytes) bytes[i] = bytes[i] as number;
}

/** Network inputs and packed bits become zeros (row 0 is always there), the rest small numbers around 0. */
function fill(bytes: Uint8Array, name: string, floats: boolean, constant?: Int32Array): void {
  if (constant !== undefined) {
    new Int32Array(bytes.buffer, bytes.byteOffset, constant.length).set(constant);
    return;
  }
  if (!floats) {
    bytes.fill(0);
    return;
  }
  const values = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength >> 2);
  const rng = new Rng(name);
  const period = Math.min(values.length, 4096);
  for (let i = 0; i < period; i++) values[i] = rng.next() - 0.5;
  for (let filled = period; filled < values.length; filled *= 2)
    values.copyWithin(filled, 0, Math.min(filled, values.length - filled));
}

/** Bytes that a backward form's forward pass kept, for forms that read them. */
function keptBytes(kind: OperatorKind, op: OperatorShape): number {
  for (const form of forwardForms(kind, op)) {
    const bytes = form.auxiliaryBytes?.(op);
    if (bytes !== undefined) return bytes;
  }
  return 0;
}

/** Measures all forms of one operator. */
function measureOperator(bench: Bench, kind: OperatorKind, op: OperatorShape): OperatorRows {
  const constants = kind.constants?.(op) ?? new Map<string, Int32Array>();
  const forward = forwardForms(kind, op).map((form): ForwardRow => {
    const shapes = forwardOperands(kind, op, form);
    const auxiliaryBytes = form.auxiliaryBytes?.(op);
    return {
      name: form.name,
      ...bench.try(form.code, op, shapes, constants),
      ...(auxiliaryBytes !== undefined && { auxiliaryBytes }),
      ...(form.inPlace !== undefined && { inPlace: form.inPlace }),
    };
  });
  // Parts are shared between forms: each is tried once.
  const tried = new Map<BackwardPart, { workspaceBytes: number; seconds: number }>();
  const part = (each: BackwardPart, inPlace: number | undefined) => {
    let result = tried.get(each);
    if (result === undefined) {
      const shapes = backwardOperands(kind, op, each, inPlace, keptBytes(kind, op));
      result = bench.try(each.code, op, shapes, constants);
      tried.set(each, result);
    }
    return result;
  };
  const backward = backwardForms(kind, op).map((form) => backwardRow(form, op, part));
  const pruned = <T extends Row>(rows: readonly T[]): readonly T[] =>
    bench.timed ? useful(rows) : rows;
  return { forward: pruned(forward), backward: pruned(backward) };
}

function backwardRow(
  { name, backward, frees }: BackwardForm,
  op: OperatorShape,
  measure: (
    part: BackwardPart,
    inPlace: number | undefined,
  ) => { readonly workspaceBytes: number; readonly seconds: number },
): BackwardRow {
  const { parts, inPlace } = backward;
  const measured = parts.map((part) => measure(part, inPlace));
  const [first, second] = measured;
  if (first === undefined) throw new InvariantError(`${name} has no parts`);
  const seconds = measured.reduce((sum, m) => sum + m.seconds, 0);
  const needs = [...new Set(parts.flatMap((part) => needsOf(part, op)))].map(plannerNeed);
  if (frees !== null && second !== undefined)
    return {
      name,
      workspaceBytes: second.workspaceBytes,
      split: { workspaceBytes: first.workspaceBytes, frees },
      needs,
      seconds,
    };
  return {
    name,
    workspaceBytes: Math.max(...measured.map((m) => m.workspaceBytes)),
    needs,
    ...(inPlace !== undefined && { inPlace }),
    seconds,
  };
}

const alike = (a: Row, b: Row): boolean => {
  const key = ({ name: _, workspaceBytes: __, seconds: ___, ...rest }: Row): string => {
    const { split, ...others } = rest as Partial<BackwardRow>;
    return JSON.stringify([others, split?.frees ?? null]);
  };
  return key(a) === key(b);
};

const firstHalf = (row: Row): number => ("split" in row ? (row.split?.workspaceBytes ?? 0) : 0);

/** Leaves out what another row of the same effect beats in time and workspace. */
export function useful<T extends Row>(rows: readonly T[]): T[] {
  return rows.filter(
    (row, i) =>
      !rows.some(
        (other, j) =>
          i !== j &&
          alike(row, other) &&
          other.seconds <= row.seconds &&
          other.workspaceBytes <= row.workspaceBytes &&
          firstHalf(other) <= firstHalf(row) &&
          (other.seconds < row.seconds ||
            other.workspaceBytes < row.workspaceBytes ||
            firstHalf(other) < firstHalf(row) ||
            j < i),
      ),
  );
}

/** What a processor is called, for the reader of a table. */
export function machineName(machine: Machine): string {
  const model = cpus()[0]?.model.trim() ?? "unknown processor";
  return `${model}, ${cpuVariant(machine.library).file ?? "ggml"}`;
}

/**
 * The cost table of a graph: rows by signature, fastest first, without what another row beats in time and workspace.
 * Minutes for large models; rejects with the signal's reason when it aborts. Throws MODEL_UNSUPPORTED.
 */
export function measure(
  machine: Machine,
  graph: TrainingGraph,
  options: MeasureOptions,
): CostTable {
  const { signal, onProgress, known, seconds } = options;
  const wanted = new Map<string, number>();
  graph.operators.forEach((_, j) => {
    kindOf(graph, j);
    const signature = signatureOf(operatorShape(graph, j));
    if (!wanted.has(signature)) wanted.set(signature, j);
  });
  const operators: Record<string, OperatorRows> = { ...known?.operators };
  using bench = new Bench(machine, seconds);
  let done = 0;
  for (const [signature, j] of wanted) {
    signal?.throwIfAborted();
    onProgress?.(done++, wanted.size, graph.operators[j]?.name ?? "");
    operators[signature] ??= measureOperator(bench, kindOf(graph, j), operatorShape(graph, j));
  }
  return {
    schema: "millrace.memory-costs/1",
    machine: machineName(machine),
    threads: machine.pool.threads,
    operators,
    updates: known?.updates ?? { sgd: updateCost(bench, "sgd"), adamw: updateCost(bench, "adamw") },
  };
}

/** Elements that updates are measured on: a parameter of a middling layer. */
const updatedElements = 1 << 18;

/** Seconds per element of an update and of the gradient's norm before it. */
function updateCost(bench: Bench, kind: Optimizer["kind"]): number {
  const ne = [updatedElements];
  const f32 = { type: "f32", ne } as const;
  const op: OperatorShape = {
    operation: { kind: "relu" },
    inputs: [],
    reads: [],
    output: ne,
    parameters: [],
  };
  const shapes = new Map<string, OperandShape>(["w", "g", "s0", "s1"].map((name) => [name, f32]));
  shapes.set("settings", { type: "f32", ne: [7] });
  const gradient = {
    host: (o: ReadonlyMap<string, Uint8Array>) => void sumOfSquares(floatsOf(o, "g")),
  };
  const seconds = (code: Code): number => bench.try(code, op, shapes, new Map()).seconds;
  return (seconds(update(optimizers[kind])) + seconds(gradient)) / updatedElements;
}
