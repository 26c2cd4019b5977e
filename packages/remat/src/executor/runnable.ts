/** An operator's code with operands bound: a ggml graph, or a host kernel and views of its bytes. */
import { InvariantError } from "@millrace/core";
import type { NativeLibrary, ThreadPool } from "@millrace/ggml";
import type { Kernel, KernelPlace, OperandShape } from "./kernel.ts";
import type { KernelCache } from "./kernel-cache.ts";
import type { Code, OperatorShape, StepContext } from "./operators/operator.ts";

/** Memory that operands lie in. */
export interface OperandMemory {
  readonly address: bigint;
  /** Address of ggml's handle of it. */
  readonly buffer: bigint;
  bytes(at: number, length: number): Uint8Array;
}

/** What running needs besides operands. */
export interface Machine {
  readonly library: NativeLibrary;
  readonly pool: ThreadPool;
}

export type OperandShapes = ReadonlyMap<string, OperandShape>;

/** Bytes of an operand. */
export function operandBytes({ type, ne }: OperandShape): number {
  const width = type === "i8" ? 1 : type === "f16" ? 2 : 4;
  return ne.reduce((product, n) => product * n, width);
}

/** Code, and from `bind` on the memory of its operands. */
export class Runnable {
  readonly workspaceBytes: number;
  readonly op: OperatorShape;
  readonly #kernel: Kernel | null;
  readonly #code: Code;
  readonly #shapes: OperandShapes;
  #views: ReadonlyMap<string, Uint8Array> = new Map();
  #place: KernelPlace | null = null;

  /** `kernels` must outlive it. */
  constructor(
    machine: Machine,
    kernels: KernelCache,
    code: Code,
    op: OperatorShape,
    shapes: OperandShapes,
  ) {
    this.#code = code;
    this.op = op;
    this.#shapes = shapes;
    this.#kernel = "native" in code ? kernels.get(machine, code, op, shapes) : null;
    this.workspaceBytes = this.#kernel?.workspaceBytes ?? 0;
  }

  /** Gives the operands and the workspace their offsets in `memory`. */
  bind(memory: OperandMemory, offsets: ReadonlyMap<string, number>, workspace: number): void {
    const base = Number(memory.address);
    const offsetOf = (name: string): number => {
      const at = offsets.get(name);
      if (at === undefined) throw new InvariantError(`the operand ${name} has no memory`);
      return at;
    };
    if (this.#kernel !== null)
      this.#place = {
        operands: Float64Array.from(this.#shapes.keys(), (name) => base + offsetOf(name)),
        workspace: this.workspaceBytes === 0 ? 0 : base + workspace,
        buffer: memory.buffer,
      };
    else
      this.#views = new Map(
        [...this.#shapes].map(([name, shape]) => [
          name,
          memory.bytes(offsetOf(name), operandBytes(shape)),
        ]),
      );
  }

  run(context: StepContext): void {
    if ("host" in this.#code) this.#code.host(this.#views, this.op, context);
    else if (this.#kernel === null || this.#place === null)
      throw new InvariantError("a kernel ran before it had memory");
    else this.#kernel.run(this.#place);
  }
}
