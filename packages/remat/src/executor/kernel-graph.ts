/**
 * What a kernel computes, as ggml graphs that run one after the other. A part may run many times over with operands moved on:
 * a convolution image by image is then a graph over a few images, not over all, whose tensors would weigh as much as a
 * small activation.
 */
import { InvariantError } from "@millrace/core";
import { Graph, newTensor, type Tensor, type TensorArena, tensorStruct } from "@millrace/ggml";
import type { Interval } from "../placement/place.ts";
import type { OperandShape } from "./kernel.ts";

/** What a kernel's builder works with: operands by name, operators on `arena`, effects in the order of `run`. */
export interface KernelBuilder {
  readonly arena: TensorArena;
  /** The tensor of an operand: what it reads, or memory it writes part by part. */
  operand(name: string): Tensor;
  has(name: string): boolean;
  /** Computes `tensor` here, after everything run before. */
  run(tensor: Tensor): Tensor;
  /** Computes `tensor` into the operand's memory; it must have the operand's bytes and not be a view. */
  into(name: string, tensor: Tensor): Tensor;
  /** Computes a tensor without gaps here, and gives its memory for use in and after what is repeated. */
  hold(tensor: Tensor): Tensor;
  /**
   * Runs what `body` runs `times` times; each time the operands of `steps` lie so many bytes further on than the time before.
   * What is computed elsewhere must be held before `body` may use it, and the other way round.
   */
  repeat(times: number, steps: ReadonlyMap<Tensor, number>, body: () => void): void;
}

export type KernelBuild = (k: KernelBuilder) => void;

export const noAddress = 0n;

/** Graphs in the order of a kernel, each with how often it runs and how far operands move from one time to the next. */
export interface Part {
  readonly graph: Graph;
  readonly times: number;
  /** Bytes by the address of an operand. */
  readonly steps: ReadonlyMap<bigint, number>;
}

/** A kernel's graphs in some arena. */
export interface Assembly {
  readonly parts: readonly Part[];
  readonly operands: ReadonlyMap<string, Tensor>;
  /** Operand that each output is computed into, by the output's address. */
  readonly outputs: ReadonlyMap<bigint, string>;
  /** Tensors that are the memory of others, by the address of what they hold. */
  readonly held: ReadonlyMap<bigint, bigint>;
}

const still: ReadonlyMap<bigint, number> = new Map();

/** Builds a kernel's graphs. Throws GGML_SHAPE when operands do not fit the operators, or the arena is full. */
export function assemble(
  arena: TensorArena,
  shapes: ReadonlyMap<string, OperandShape>,
  build: KernelBuild,
): Assembly {
  const parts: Part[] = [];
  const outputs = new Map<bigint, string>();
  const held = new Map<bigint, bigint>();
  const operands = new Map(
    [...shapes].map(([name, { type, ne }]) => [name, newTensor(arena, type, ne)] as const),
  );
  /** The part that is being built; null before the first operator of the next. */
  let graph: Graph | null = null;
  let repeating = false;
  const part = (times: number, steps: Part["steps"]): Graph => {
    const made = new Graph(arena);
    parts.push({ graph: made, times, steps });
    return made;
  };
  const expand = (tensor: Tensor): Tensor => {
    graph ??= part(1, still);
    return graph.expand(tensor);
  };
  const operand = (name: string): Tensor => {
    const tensor = operands.get(name);
    if (tensor === undefined) throw new InvariantError(`the kernel has no operand ${name}`);
    return tensor;
  };
  build({
    arena,
    operand,
    has: (name) => operands.has(name),
    run: expand,
    into: (name, tensor) => {
      const target = operand(name);
      if (tensor.bytes !== target.bytes || arena.field(tensor, tensorStruct.viewSrc) !== noAddress)
        throw new InvariantError(`${tensor} cannot be computed into ${name} ${target}`);
      outputs.set(tensor.address, name);
      return expand(tensor);
    },
    hold: (tensor) => {
      if ([...operands.values()].includes(tensor)) return tensor;
      if (!tensor.contiguous) throw new InvariantError(`${tensor} has gaps and cannot be held`);
      expand(tensor);
      const memory = newTensor(arena, tensor.type, tensor.ne);
      held.set(tensor.address, memory.address);
      return memory;
    },
    repeat: (times, steps, body) => {
      if (repeating) throw new InvariantError("what is repeated repeats nothing");
      repeating = true;
      graph = part(times, new Map([...steps].map(([{ address }, bytes]) => [address, bytes])));
      body();
      graph = null;
      repeating = false;
    },
  });
  return { parts, operands, outputs, held };
}

/** A tensor that a kernel computes, or a view. */
export interface Node {
  readonly address: bigint;
  /** Its part's number. */
  readonly part: number;
  /** What it is a view of, or 0. */
  readonly viewOf: bigint;
  readonly viewOffset: bigint;
  readonly bytes: number;
}

/** Operators that compute nothing. */
const views = new Set(["VIEW", "RESHAPE", "PERMUTE", "TRANSPOSE"]);

/** What the parts compute, in order. A parameter is a node of a graph too, but an operand here, with memory of its own. */
export function listNodes(
  arena: TensorArena,
  { parts, operands, held }: Assembly,
): readonly Node[] {
  const { base } = arena.library;
  const known = new Set([...operands.values()].map(({ address }) => address));
  for (const address of held.values()) known.add(address);
  const seen = new Set<bigint>();
  return parts.flatMap(({ graph }, part) => {
    const nodes = Array.from(
      { length: graph.nodes },
      (_, i) => base.ggml_graph_node(graph.address, i) as bigint,
    ).filter((address) => !known.has(address));
    for (const address of nodes) {
      if (!seen.has(address)) continue;
      const number = Number(arena.wordAt(address, tensorStruct.op) & 0xffff_ffffn);
      const op = base.ggml_op_name(number) ?? String(number);
      if (!views.has(op))
        throw new InvariantError(`a ${op} of one part of a kernel is not held for another`);
    }
    for (const address of nodes) seen.add(address);
    return nodes.map((address) => ({
      address,
      part,
      viewOf: arena.wordAt(address, tensorStruct.viewSrc),
      viewOffset: arena.wordAt(address, tensorStruct.viewOffs),
      bytes: base.ggml_nbytes(address),
    }));
  });
}

/**
 * Intermediates: from the operator that makes one to the last that reads it or a view of it; what a repeated part reads from
 * outside is needed until its last time is over.
 */
export function lifetimes(
  arena: TensorArena,
  nodes: readonly Node[],
  { parts, outputs, held }: Assembly,
): Map<bigint, Interval> {
  const own = new Map<bigint, Interval>();
  const root = new Map<bigint, bigint>();
  const last = new Map(nodes.map(({ part }, i) => [part, i]));
  nodes.forEach((node, i) => {
    const mine = node.viewOf === noAddress ? node.address : (root.get(node.viewOf) ?? node.viewOf);
    root.set(node.address, mine);
    const memory = held.get(node.address);
    if (memory !== undefined) root.set(memory, mine);
    if (node.viewOf === noAddress && !outputs.has(node.address))
      own.set(node.address, { bytes: node.bytes, from: i, to: i });
    const touched = [mine];
    for (let s = 0; s < 10; s++) {
      const source = arena.wordAt(node.address, tensorStruct.src + 8 * s);
      if (source !== noAddress) touched.push(root.get(source) ?? source);
    }
    const repeated = (parts[node.part]?.times ?? 1) > 1;
    for (const address of touched) {
      const interval = own.get(address);
      if (interval === undefined) continue;
      const outside = nodes[interval.from]?.part !== node.part;
      own.set(address, { ...interval, to: repeated && outside ? (last.get(node.part) ?? i) : i });
    }
  });
  return own;
}
