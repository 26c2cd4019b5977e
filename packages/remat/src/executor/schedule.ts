/**
 * From a plan to buffers and calls: which code runs when, on which buffers, and from when to when each buffer is needed.
 * The memory model is the simulator's (problem/simulate.ts), so that the peak it predicts is the peak that is used.
 */
import { InvariantError } from "@millrace/core";
import { addInplace } from "@millrace/ggml";
import type { Operator, TrainingGraph } from "../graph/graph.ts";
import type { Plan } from "../problem/plan.ts";
import {
  type Buffer,
  type BufferKind,
  type Constant,
  constantsOf,
  type ParameterBuffers,
  type StatisticBuffers,
  settingsBytes,
  statisticBytes,
} from "./buffers.ts";
import { backwardForms, forwardForms } from "./implementations.ts";
import type { KernelCache } from "./kernel-cache.ts";
import { backwardOperands, forwardOperands } from "./operands.ts";
import { type Code, count, type OperatorKind, type OperatorShape } from "./operators/operator.ts";
import { type Machine, type OperandShapes, operandBytes, Runnable } from "./runnable.ts";
import { inputShape, kindOf, operatorShape, signatureOf } from "./shapes.ts";
import type { CostTable, OperatorRows } from "./table.ts";

/** One call of a step. */
export interface Call {
  /** Index of the plan's action. */
  readonly action: number;
  /** Each action has two events, 2a and 2a + 1: the halves of a split backward pass. */
  readonly event: number;
  readonly operator: number;
  readonly runnable: Runnable;
  /** Buffer of each operand. */
  readonly operands: ReadonlyMap<string, number>;
  /** Buffer of the workspace, -1 when there is none. */
  readonly workspace: number;
  /** True when it computes the loss, the operand y. */
  readonly loss: boolean;
}

export interface Schedule {
  readonly buffers: readonly Buffer[];
  readonly calls: readonly Call[];
  /** In the order of the graph. */
  readonly parameters: readonly ParameterBuffers[];
  readonly statistics: readonly StatisticBuffers[];
  /** Network inputs in the order of the graph. */
  readonly inputs: readonly number[];
  readonly constants: readonly Constant[];
  /** The optimizer's settings, f32 [7]. */
  readonly settings: number;
}

/** sum += part. */
const accumulation: Code = {
  native: () => (k) => void k.run(addInplace(k.arena, k.operand("sum"), k.operand("part"))),
};

interface Known {
  readonly operator: Operator;
  readonly kind: OperatorKind;
  readonly shape: OperatorShape;
  readonly rows: OperatorRows;
}

/** Buffers while their ends are still open. */
interface OpenBuffer extends Buffer {
  to: number;
}

class Scheduler {
  readonly #buffers: OpenBuffer[] = [];
  readonly #calls: Call[] = [];
  readonly #machine: Machine;
  readonly #kernels: KernelCache;
  readonly #known: readonly Known[];
  readonly #count: number;
  readonly #end: number;
  readonly #parameters: ParameterBuffers[][];
  readonly #statistics: readonly StatisticBuffers[];
  readonly #inputs: readonly number[];
  readonly #constants = new Map<string, Constant>();
  readonly #settings: number;
  /** Buffers of live forward tensors: j the output of operator j, n + j its auxiliary tensor. */
  readonly #live = new Map<number, number>();
  /** Buffers of gradients of outputs. */
  readonly #gradients = new Map<number, number>();
  /** Last event so far. */
  #event = 0;

  constructor(
    machine: Machine,
    kernels: KernelCache,
    graph: TrainingGraph,
    table: CostTable,
    states: number,
    end: number,
  ) {
    this.#machine = machine;
    this.#kernels = kernels;
    this.#count = graph.operators.length;
    this.#end = end;
    this.#known = graph.operators.map((operator, j) => {
      const shape = operatorShape(graph, j);
      const rows = table.operators[signatureOf(shape)];
      if (rows === undefined) throw new InvariantError(`no rows for ${operator.name}`);
      return { operator, kind: kindOf(graph, j), shape, rows };
    });
    this.#parameters = this.#known.map(({ operator }) =>
      operator.parameters.map(({ name, dims }) => {
        const bytes = 4 * count(dims);
        const value = this.#fixed(name, "parameter", bytes);
        const state = Array.from({ length: states }, (_, i) =>
          this.#fixed(`${name} state ${i}`, "optimizer", bytes),
        );
        return { name, dims, value, gradient: -1, state };
      }),
    );
    this.#statistics = this.#known.flatMap(({ operator, kind, shape }, j) => {
      const channels = kind.statistics?.(shape);
      if (channels === undefined) return [];
      const { name } = operator;
      const bytes = statisticBytes(channels);
      const batch = this.#fixed(`${name} batch statistics`, "statistic", bytes);
      const running = this.#fixed(`${name} running statistics`, "statistic", bytes);
      const each = count(shape.output) / channels;
      return [{ operator: j, name, channels, elements: each, batch, running }];
    });
    this.#inputs = graph.inputs.map(({ name }, i) =>
      this.#fixed(name, "input", operandBytes(inputShape(graph, i))),
    );
    for (const [key, values] of constantsOf(graph))
      this.#constants.set(key, {
        buffer: this.#fixed("constant", "constant", values.byteLength),
        values,
      });
    this.#settings = this.#fixed("settings", "constant", settingsBytes);
  }

  #make(name: string, kind: BufferKind, bytes: number, from: number, to: number): number {
    this.#buffers.push({ name, kind, bytes, from, to });
    return this.#buffers.length - 1;
  }

  #fixed(name: string, kind: BufferKind, bytes: number): number {
    return this.#make(name, kind, bytes, 0, this.#end);
  }

  #buffer(index: number): OpenBuffer {
    const buffer = this.#buffers[index];
    if (buffer === undefined) throw new InvariantError(`there is no buffer ${index}`);
    return buffer;
  }

  #of(j: number): Known {
    const known = this.#known[j];
    if (known === undefined) throw new InvariantError(`there is no operator ${j}`);
    return known;
  }

  /** Operands that every kernel of an operator may read. */
  #common(j: number): Map<string, number> {
    const { operator, kind, shape } = this.#of(j);
    const operands = new Map<string, number>();
    operator.reads.forEach((read, i) => {
      operands.set(`r${i}`, this.#inputs[read] as number);
    });
    this.#parameters[j]?.forEach(({ value }, i) => {
      operands.set(`w${i}`, value);
    });
    for (const [name, values] of kind.constants?.(shape) ?? [])
      operands.set(name, this.#constants.get(values.join())?.buffer as number);
    const statistics = this.#statistics.find((entry) => entry.operator === j);
    if (statistics !== undefined) operands.set("s", statistics.batch);
    operator.inputs.forEach((u, i) => {
      const held = this.#live.get(u);
      if (held !== undefined) operands.set(`x${i}`, held);
    });
    return operands;
  }

  #call(
    where: { readonly action: number; readonly event: number; readonly operator: number },
    runnable: Runnable,
    shapes: OperandShapes,
    operands: ReadonlyMap<string, number>,
    workspace: number,
    loss = false,
  ): void {
    const own = new Map<string, number>();
    for (const name of shapes.keys()) {
      const buffer = operands.get(name);
      if (buffer === undefined)
        throw new InvariantError(`${this.#of(where.operator).operator.name} lacks ${name}`);
      own.set(name, buffer);
    }
    this.#calls.push({ ...where, runnable, operands: own, workspace, loss });
  }

  /** A workspace for one event that serves several calls one after the other. */
  #workspace(j: number, event: number, runnables: readonly Runnable[]): number {
    const bytes = Math.max(...runnables.map((runnable) => runnable.workspaceBytes));
    const name = `${this.#of(j).operator.name} workspace`;
    return bytes === 0 ? -1 : this.#make(name, "workspace", bytes, event, event);
  }

  forward(action: number, j: number, choice: number): void {
    const { operator, kind, shape, rows } = this.#of(j);
    const name = rows.forward[choice]?.name;
    const form = forwardForms(kind, shape).find((entry) => entry.name === name);
    if (form === undefined)
      throw new InvariantError(`no implementation ${name} of ${operator.name}`);
    const event = 2 * action;
    const operands = this.#common(j);
    if (form.inPlace !== undefined) {
      const u = operator.inputs[form.inPlace] as number;
      this.#live.set(j, operands.get(`x${form.inPlace}`) as number);
      this.#live.delete(u);
    } else if (!this.#live.has(j)) {
      const made = this.#make(
        operator.name,
        "activation",
        4 * count(shape.output),
        event,
        this.#end,
      );
      this.#live.set(j, made);
    }
    const kept = form.auxiliaryBytes?.(shape);
    if (kept !== undefined && !this.#live.has(this.#count + j))
      this.#live.set(
        this.#count + j,
        this.#make(`${operator.name} kept`, "auxiliary", kept, event, this.#end),
      );
    this.#holdOwn(j, operands);
    const shapes = forwardOperands(kind, shape, form);
    const runnable = new Runnable(this.#machine, this.#kernels, form.code, shape, shapes);
    const workspace = this.#workspace(j, event, [runnable]);
    const where = { action, event, operator: j };
    this.#call(where, runnable, shapes, operands, workspace, j === this.#count - 1);
    this.#event = event + 1;
  }

  /** Names an operator's live output and auxiliary tensor. */
  #holdOwn(j: number, operands: Map<string, number>): void {
    const y = this.#live.get(j);
    const a = this.#live.get(this.#count + j);
    if (y !== undefined) operands.set("y", y);
    if (a !== undefined) operands.set("a", a);
  }

  backward(action: number, j: number, choice: number): void {
    const { operator, kind, shape, rows } = this.#of(j);
    const name = rows.backward[choice]?.name;
    const form = backwardForms(kind, shape).find((entry) => entry.name === name);
    if (form === undefined)
      throw new InvariantError(`no implementation ${name} of ${operator.name}`);
    const { parts, inPlace } = form.backward;
    const start = 2 * action;
    const last = start + 1;
    const dy = this.#gradients.get(j);
    const operands = this.#common(j);
    this.#holdOwn(j, operands);
    if (dy !== undefined) operands.set("dy", dy);
    this.#parameterGradients(j, operands, start);
    const fresh = operator.inputs.map((u, i) => {
      if (i === inPlace) return dy as number;
      const bytes = 4 * count(shape.inputs[i] as readonly number[]);
      const label = `${this.#of(u).operator.name} gradient`;
      const from = form.frees === null ? start : last;
      const made = this.#make(label, "gradient", bytes, from, last);
      operands.set(`dx${i}`, made);
      return made;
    });
    const a = operands.get("a");
    const keptBytes = a === undefined ? 0 : this.#buffer(a).bytes;
    const shapes = parts.map((part) => backwardOperands(kind, shape, part, inPlace, keptBytes));
    const runnables = parts.map(
      (part, i) =>
        new Runnable(this.#machine, this.#kernels, part.code, shape, shapes[i] as OperandShapes),
    );
    const shared = form.frees === null ? this.#workspace(j, start, runnables) : -1;
    runnables.forEach((runnable, i) => {
      const event = form.frees !== null && i > 0 ? last : start;
      const workspace = form.frees === null ? shared : this.#workspace(j, event, [runnable]);
      const where = { action, event, operator: j };
      this.#call(where, runnable, shapes[i] as OperandShapes, operands, workspace);
    });
    for (const position of form.frees ?? [])
      this.#release(operator.inputs[position] as number, start);
    this.#event = last;
    operator.inputs.forEach((u, i) => {
      this.#hand(u, fresh[i] as number, { action, event: last, operator: j });
    });
    const handedOn = operator.inputs.some((u) => this.#gradients.get(u) === dy);
    if (dy !== undefined && !handedOn) this.#buffer(dy).to = last;
    this.#gradients.delete(j);
  }

  #parameterGradients(j: number, operands: Map<string, number>, from: number): void {
    this.#parameters[j] = (this.#parameters[j] ?? []).map((parameter, i) => {
      const { bytes } = this.#buffer(parameter.value);
      const label = `${parameter.name} gradient`;
      const gradient = this.#make(label, "parameter-gradient", bytes, from, this.#end);
      operands.set(`dw${i}`, gradient);
      return { ...parameter, gradient };
    });
  }

  /** Gives a part of the gradient of u's output: it becomes the gradient, or is added to what there is. */
  #hand(
    u: number,
    part: number,
    where: { readonly action: number; readonly event: number; readonly operator: number },
  ): void {
    const sum = this.#gradients.get(u);
    if (sum === undefined) {
      this.#gradients.set(u, part);
      this.#buffer(part).to = this.#end;
      return;
    }
    const whole = { type: "f32", ne: [this.#buffer(sum).bytes / 4] } as const;
    const shapes = new Map([
      ["sum", whole],
      ["part", whole],
    ]);
    const operands = new Map([
      ["sum", sum],
      ["part", part],
    ]);
    const runnable = new Runnable(
      this.#machine,
      this.#kernels,
      accumulation,
      this.#of(u).shape,
      shapes,
    );
    this.#call(where, runnable, shapes, operands, -1);
  }

  free(tensor: number): void {
    this.#release(tensor, this.#event);
  }

  #release(tensor: number, at: number): void {
    const held = this.#live.get(tensor);
    if (held === undefined) throw new InvariantError(`tensor ${tensor} is freed and not there`);
    this.#live.delete(tensor);
    this.#buffer(held).to = at;
  }

  finish(): Schedule {
    return {
      buffers: this.#buffers,
      calls: this.#calls,
      parameters: this.#parameters.flat(),
      statistics: this.#statistics,
      inputs: this.#inputs,
      constants: [...this.#constants.values()],
      settings: this.#settings,
    };
  }
}

/**
 * The schedule of a plan that the simulator found valid; its choices are indices into the table's rows. `states` is the
 * number of tensors the optimizer keeps per parameter. Throws InvariantError where the plan and the table do not fit.
 */
export function schedule(
  machine: Machine,
  kernels: KernelCache,
  graph: TrainingGraph,
  table: CostTable,
  plan: Plan,
  states: number,
): Schedule {
  const scheduler = new Scheduler(machine, kernels, graph, table, states, 2 * plan.length);
  plan.forEach((action, i) => {
    if (action.kind === "free") scheduler.free(action.tensor);
    else if (action.kind === "forward") scheduler.forward(i, action.operator, action.choice);
    else scheduler.backward(i, action.operator, action.choice);
  });
  return scheduler.finish();
}
