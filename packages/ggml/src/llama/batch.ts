/** A llama_batch in memory of our own: reused between steps, one sequence per token. */
import { InvariantError } from "@millrace/core";
import { HostMemory } from "../host-memory.ts";
import type { BatchStruct } from "./params.ts";

export class LlamaBatch {
  readonly capacity: number;
  tokens = 0;
  readonly #token: HostMemory;
  readonly #position: HostMemory;
  readonly #sequence: HostMemory;
  readonly #sequences: HostMemory;
  readonly #pointers: HostMemory;
  readonly #output: HostMemory;
  readonly #views: {
    readonly token: Int32Array;
    readonly position: Int32Array;
    readonly sequence: Int32Array;
    readonly output: Uint8Array;
  };

  /** Room for `capacity` tokens, >= 1. */
  constructor(capacity: number) {
    this.capacity = capacity;
    this.#token = new HostMemory(4 * capacity);
    this.#position = new HostMemory(4 * capacity);
    this.#sequence = new HostMemory(4 * capacity);
    this.#sequences = new HostMemory(4 * capacity);
    this.#pointers = new HostMemory(8 * capacity);
    this.#output = new HostMemory(capacity);
    this.#sequences.i32().fill(1);
    const pointers = this.#pointers.u64();
    for (let i = 0; i < capacity; i++) pointers[i] = this.#sequence.address + BigInt(4 * i);
    this.#views = {
      token: this.#token.i32(),
      position: this.#position.i32(),
      sequence: this.#sequence.i32(),
      output: this.#output.u8(),
    };
  }

  clear(): void {
    this.tokens = 0;
  }

  /** Adds a token at `position` of `sequence`; returns its index, by which its logits are asked for. */
  add(token: number, position: number, sequence: number, output: boolean): number {
    const i = this.tokens;
    if (i === this.capacity) throw new InvariantError(`a batch of ${i} tokens is full`);
    const { token: ids, position: positions, sequence: sequences, output: outputs } = this.#views;
    ids[i] = token;
    positions[i] = position;
    sequences[i] = sequence;
    outputs[i] = output ? 1 : 0;
    this.tokens = i + 1;
    return i;
  }

  /** Whether logits were asked for at an index. */
  hasOutput(index: number): boolean {
    return index >= 0 && index < this.tokens && this.#views.output[index] === 1;
  }

  /** First token whose id is not below `vocabulary`, or sequence not below `sequences`, in words; null = all are right. */
  fault(vocabulary: number, sequences: number): string | null {
    const { token, position, sequence } = this.#views;
    for (let i = 0; i < this.tokens; i++) {
      if (token[i]! < 0 || token[i]! >= vocabulary)
        return `token ${token[i]} at ${i} is not in a vocabulary of ${vocabulary}`;
      if (sequence[i]! < 0 || sequence[i]! >= sequences)
        return `sequence ${sequence[i]} at ${i} is not below ${sequences}`;
      if (position[i]! < 0) return `position ${position[i]} at ${i} is negative`;
    }
    return null;
  }

  /** The structure; the batch must live as long as native code uses it. */
  struct(): BatchStruct {
    return {
      n_tokens: this.tokens,
      token: this.#token.address,
      embd: null,
      pos: this.#position.address,
      n_seq_id: this.#sequences.address,
      seq_id: this.#pointers.address,
      logits: this.#output.address,
    };
  }
}
