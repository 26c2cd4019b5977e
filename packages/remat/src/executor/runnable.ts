/** An operator's code with operands bound: a ggml graph, or a host kernel and views of its bytes. */
import type { NativeLibrary, ThreadPool } from "@millrace/ggml";
import { Kernel, type OperandShape } from "./kernel.ts";
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

/** Code whose memory is not chosen yet. */
export class Runnable implements Disposable {
  readonly workspaceBytes: number;
  readonly op: OperatorShape;
  readonly #kernel: Kernel | null;
  readonly #code: Code;
  readonly #shapes: OperandShapes;
  #views: ReadonlyMap<string, Uint8Array> = new Map();

  constructor(machine: Machine, code: Code, op: OperatorShape, shapes: OperandShapes) {
    this.#code = code;
    this.op = op;
    this.#shapes = shapes;
    this.#kernel =
      "native" in code
        ? Kernel.build(machine.library, machine.pool, shapes, code.native(op))
        : null;
    this.workspaceBytes = this.#kernel?.workspaceBytes ?? 0;
  }

  /** Gives the operands and the workspace their offsets in `memory`. */
  bind(memory: OperandMemory, offsets: ReadonlyMap<string, number>, workspace: number): void {
    const address = (at: number): bigint => memory.address + BigInt(at);
    if (this.#kernel !== null) {
      const addresses = new Map([...offsets].map(([name, at]) => [name, address(at)] as const));
      const work = this.workspaceBytes === 0 ? 0n : address(workspace);
      this.#kernel.bind(addresses, work, memory.buffer);
      return;
    }
    this.#views = new Map(
      [...this.#shapes].map(([name, shape]) => [
        name,
        memory.bytes(offsets.get(name) as number, operandBytes(shape)),
      ]),
    );
  }

  run(context: StepContext): void {
    if (this.#kernel !== null) this.#kernel.run();
    else if ("host" in this.#code) this.#code.host(this.#views, this.op, context);
  }

  [Symbol.dispose](): void {
    this.#kernel?.[Symbol.dispose]();
  }
}
