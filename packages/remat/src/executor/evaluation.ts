/**
 * The network as it is once training is over: a forward pass without dropout and with the running statistics of batch norm,
 * in the memory that a training step uses anyway.
 */
import { InvariantError, MillraceError } from "@millrace/core";
import { elements } from "../graph/graph.ts";
import { type Interval, place, stepSearch } from "../placement/place.ts";
import { residentKinds } from "./buffers.ts";
import type { TrainingExecutor } from "./executor.ts";
import { forwardForms } from "./implementations.ts";
import { forwardOperands } from "./operands.ts";
import { count, type Forward } from "./operators/operator.ts";
import { type Machine, type OperandShapes, Runnable } from "./runnable.ts";
import { classesOf, kindOf, operatorShape } from "./shapes.ts";

/** What a network makes of a batch. */
export interface EvaluationReport {
  readonly loss: number;
  /** Share of labels whose logit is the largest. */
  readonly accuracy: number;
  readonly seconds: number;
}

interface EvaluationCall {
  readonly runnable: Runnable;
  readonly operator: number;
}

interface Buffer extends Interval {
  to: number;
}

export class Evaluator {
  readonly #executor: TrainingExecutor;
  readonly #calls: EvaluationCall[] = [];
  /** Offset of each operator's output, bytes. */
  readonly #outputs: readonly number[];

  /** Throws NOTHING_FITS where the executor's memory is too small. */
  constructor(machine: Machine, executor: TrainingExecutor) {
    this.#executor = executor;
    const { graph } = executor.setup;
    const { operators } = graph;
    const buffers: Buffer[] = [];
    const outputs: number[] = [];
    const make = (bytes: number, at: number): number =>
      bytes === 0 ? -1 : buffers.push({ bytes, from: at, to: at }) - 1;
    const made = operators.map((operator, j) => {
      const { runnable, operands, auxiliaryBytes } = smallest(machine, executor, j);
      this.#calls.push({ runnable, operator: j });
      for (const u of operator.inputs) (buffers[outputs[u] as number] as Buffer).to = j;
      outputs.push(make(4 * elements(operator.dims), j));
      const workspace = make(runnable.workspaceBytes, j);
      return { operands, workspace, auxiliary: make(auxiliaryBytes, j) };
    });
    // The logits are looked at after the loss is known.
    const logits = operators.at(-1)?.inputs[0] as number;
    (buffers[outputs[logits] as number] as Buffer).to = operators.length;
    const placement = place(buffers, stepSearch);
    const wanted = executor.fixedEnd + placement.bytes;
    if (wanted > executor.memory.bytesTotal)
      throw new MillraceError(
        "NOTHING_FITS",
        `evaluating ${graph.name} takes ${wanted} bytes and the plan's memory has ${executor.memory.bytesTotal}`,
        { hint: "give the run a budget of at least that many bytes" },
      );
    const offsetOf = (buffer: number): number =>
      executor.fixedEnd + (placement.offsets[buffer] as number);
    this.#outputs = outputs.map(offsetOf);
    this.#calls.forEach(({ runnable }, j) => {
      const { operands, workspace, auxiliary } = made[j] as (typeof made)[number];
      const fixed = fixedOperands(executor, j);
      const inputs = operators[j]?.inputs ?? [];
      const offset = (name: string): number => {
        if (name === "y") return this.#outputs[j] as number;
        if (name === "a") return offsetOf(auxiliary);
        if (name.startsWith("x"))
          return this.#outputs[inputs[Number(name.slice(1))] as number] as number;
        return executor.offsets[fixed.get(name) as number] as number;
      };
      const at = new Map([...operands.keys()].map((name) => [name, offset(name)] as const));
      runnable.bind(executor.memory, at, workspace < 0 ? 0 : offsetOf(workspace));
    });
  }

  /** Evaluates the batch that was loaded. */
  run(): EvaluationReport {
    const { setup, step, memory } = this.#executor;
    const began = performance.now();
    for (const { runnable, operator } of this.#calls)
      runnable.run({ seed: setup.seed, step, operator });
    const loss = memory.floats(this.#outputs.at(-1) as number, 1)[0] as number;
    const accuracy = this.#accuracy();
    return { loss, accuracy, seconds: (performance.now() - began) / 1000 };
  }

  #accuracy(): number {
    const { setup, schedule, memory } = this.#executor;
    const { graph } = setup;
    const last = graph.operators.at(-1);
    const source = last?.inputs[0] as number;
    const dims = graph.operators[source]?.dims ?? [];
    const classes = classesOf(dims);
    const logits = memory.floats(this.#outputs[source] as number, count(dims));
    const { buffer, byteOffset, byteLength } = this.#executor.bytesOf(
      schedule.inputs[last?.reads[0] as number] as number,
    );
    const labels = new Int32Array(buffer, byteOffset, byteLength / 4);
    // Classes of pixels are planes, those of rows adjacent.
    const [each, next] = dims.length === 4 ? [1, labels.length] : [classes, 1];
    let right = 0;
    for (let row = 0; row < labels.length; row++) {
      let best = 0;
      for (let c = 1; c < classes; c++)
        if (
          (logits[row * each + c * next] as number) > (logits[row * each + best * next] as number)
        )
          best = c;
      // Labels have become places among the logits of a chunk of rows.
      if ((labels[row] as number) % classes === best) right += 1;
    }
    return right / labels.length;
  }
}

/** What runs, on which operands, and what it writes beside its output and never reads again. */
interface Candidate {
  readonly runnable: Runnable;
  readonly operands: OperandShapes;
  readonly auxiliaryBytes: number;
}

/** The code of operator j after training: its own, or the implementation out of place that takes the least memory. */
function smallest(machine: Machine, executor: TrainingExecutor, j: number): Candidate {
  const { graph } = executor.setup;
  const [kind, shape] = [kindOf(graph, j), operatorShape(graph, j)];
  const { inference } = kind;
  const forms: readonly Forward[] =
    inference === undefined
      ? forwardForms(kind, shape).filter(({ inPlace }) => inPlace === undefined)
      : [{ name: "inference", code: inference }];
  const candidates = forms.map((form): Candidate => {
    const operands = forwardOperands(kind, shape, form);
    const runnable = new Runnable(machine, executor.kernels, form.code, shape, operands);
    return { runnable, operands, auxiliaryBytes: form.auxiliaryBytes?.(shape) ?? 0 };
  });
  const size = (c: Candidate): number => c.runnable.workspaceBytes + c.auxiliaryBytes;
  const [best] = candidates.sort((a, b) => size(a) - size(b));
  if (best === undefined) throw new InvariantError(`nothing computes ${graph.operators[j]?.name}`);
  return best;
}

/** Buffers of what stays through the step, by the operand's name. */
function fixedOperands(executor: TrainingExecutor, j: number): ReadonlyMap<string, number> {
  const { calls, statistics, buffers } = executor.schedule;
  const own = new Map<string, number>();
  for (const call of calls)
    if (call.operator === j)
      for (const [name, buffer] of call.operands)
        if (residentKinds.has(buffers[buffer]?.kind ?? "workspace")) own.set(name, buffer);
  const running = statistics.find(({ operator }) => operator === j)?.running;
  if (running !== undefined) own.set("s", running);
  return own;
}
