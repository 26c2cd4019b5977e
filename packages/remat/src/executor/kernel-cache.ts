/**
 * Kernels that several places of a plan share: a graph over many chunks of images takes as much memory as a small
 * activation, and a plan runs the same one forward, again, and in every block of the same shape.
 */
import { Kernel, type OperandShape } from "./kernel.ts";
import type { Code, OperatorShape } from "./operators/operator.ts";
import type { Machine } from "./runnable.ts";
import { signatureOf } from "./shapes.ts";

export class KernelCache implements Disposable {
  readonly #kernels = new Map<Code, Map<string, Kernel>>();

  /** The kernel of native code for operands of these shapes; built on first use, disposed of with the cache. */
  get(
    machine: Machine,
    code: Extract<Code, { native: unknown }>,
    op: OperatorShape,
    shapes: ReadonlyMap<string, OperandShape>,
  ): Kernel {
    const key = `${signatureOf(op)} ${JSON.stringify([...shapes])}`;
    let alike = this.#kernels.get(code);
    if (alike === undefined) {
      alike = new Map();
      this.#kernels.set(code, alike);
    }
    let kernel = alike.get(key);
    if (kernel === undefined) {
      kernel = Kernel.build(machine.library, machine.pool, shapes, code.native(op));
      alike.set(key, kernel);
    }
    return kernel;
  }

  [Symbol.dispose](): void {
    for (const alike of this.#kernels.values())
      for (const kernel of alike.values()) kernel[Symbol.dispose]();
    this.#kernels.clear();
  }
}
