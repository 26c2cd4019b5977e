/**
 * The one piece of memory of a training step: everything the step touches lies in it, at addresses chosen before. It can
 * be filled with canaries, so that what was touched can be counted and a stray access shows up as NaN.
 */
import { InvariantError } from "@millrace/core";
import { GuardedMemory, type NativeLibrary, TensorBuffer } from "@millrace/ggml";
import { aligned } from "../placement/place.ts";
import type { OperandMemory } from "./runnable.ts";

/** A quiet NaN with a payload that no computation makes. */
export const canary = 0x7fe5_ca1e;

/** Most bytes of one view. */
const windowBytes = 1 << 30;

export class StepMemory implements OperandMemory, Disposable {
  readonly bytesTotal: number;
  readonly #memory: GuardedMemory;
  readonly #buffer: TensorBuffer;

  constructor(library: NativeLibrary, bytes: number) {
    this.bytesTotal = aligned(bytes);
    this.#memory = new GuardedMemory(this.bytesTotal);
    this.#buffer = TensorBuffer.over(
      library,
      this.#memory.address,
      this.#memory.bytes,
      this.#memory,
    );
  }

  get address(): bigint {
    return this.#memory.address;
  }

  get buffer(): bigint {
    return this.#buffer.address;
  }

  /** Whether pages that nobody may touch lie before and behind it. */
  get guarded(): boolean {
    return this.#memory.guarded;
  }

  bytes(at: number, length: number): Uint8Array {
    return this.#memory.view(at, length);
  }

  floats(at: number, count: number): Float32Array {
    const { buffer, byteOffset } = this.bytes(at, 4 * count);
    return new Float32Array(buffer, byteOffset, count);
  }

  /** Fills [from, to), whole words, with canaries. */
  poison(from: number, to: number): void {
    this.#words(from, to, (words) => words.fill(canary));
  }

  /** Words in [from, to) that hold no canary. */
  touched(from: number, to: number): number {
    let count = 0;
    this.#words(from, to, (words) => {
      for (let i = 0; i < words.length; i++) if (words[i] !== canary) count++;
    });
    return count;
  }

  #words(from: number, to: number, body: (words: Uint32Array) => void): void {
    if (from % 4 !== 0 || to % 4 !== 0)
      throw new InvariantError(`bytes ${from} to ${to} are no words`);
    for (let at = from; at < to; at += windowBytes) {
      const { buffer, byteOffset, byteLength } = this.bytes(at, Math.min(windowBytes, to - at));
      body(new Uint32Array(buffer, byteOffset, byteLength / 4));
    }
  }

  [Symbol.dispose](): void {
    this.#buffer[Symbol.dispose]();
    this.#memory[Symbol.dispose]();
  }
}
