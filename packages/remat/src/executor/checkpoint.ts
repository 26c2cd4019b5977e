/**
 * Checkpoints: a folder with state.json and the parameters, optimizer state and running statistics as raw little-endian f32,
 * in the order of the graph. It is written under a temporary name, synced and renamed: complete, or not there.
 */
import {
  closeSync,
  existsSync,
  fsyncSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
} from "node:fs";
import { dirname, join } from "node:path";
import * as zlib from "node:zlib";
import { hash128, MillraceError } from "@millrace/core";
import { AtomicFileStream, makeFolder, systemReason, writeFileAtomic } from "@millrace/core/node";
import { z } from "zod";
import type { TrainingGraph } from "../graph/graph.ts";
import type { TrainingExecutor } from "./executor.ts";
import type { Optimizer } from "./optimizer.ts";

const stateSchema = z.object({
  schema: z.literal("millrace.memory-checkpoint/1"),
  model: z.string(),
  /** Of names and shapes of the parameters, the kind of optimizer, and the operators with statistics. */
  fingerprint: z.string(),
  step: z.int().min(0),
  seed: z.number(),
  bytes: z.int().min(0),
  /** CRC-32 of the tensors; absent in checkpoints of before it was kept. */
  crc32: z.exactOptional(z.int().min(0)),
});

const files = { state: "state.json", tensors: "tensors.f32" } as const;

/** What a checkpoint must agree in: plan, batch and machine may differ, parameters and state may not. */
function fingerprint(graph: TrainingGraph, optimizer: Optimizer, states: number): string {
  const parameters = graph.operators.flatMap((op) => op.parameters.map((p) => [p.name, p.dims]));
  const normed = graph.operators.filter(({ operation }) => operation.kind === "batchNorm");
  const statistics = normed.map(({ name }) => name);
  return hash128(JSON.stringify([parameters, optimizer.kind, states, statistics])).join("-");
}

/** Buffers of a checkpoint in their order. */
function tensorsOf(executor: TrainingExecutor): Float32Array[] {
  const buffers = executor.parameters.flatMap(({ value, state }) => [value, ...state]);
  const running = executor.schedule.statistics.map((statistics) => statistics.running);
  return [...buffers, ...running].map((buffer) => executor.values(buffer));
}

function fingerprintOf(executor: TrainingExecutor): string {
  const { graph, optimizer } = executor.setup;
  return fingerprint(graph, optimizer, executor.parameters[0]?.state.length ?? 0);
}

/** CRC-32 that continues from another; Node has it since 20.15, its type library does not yet know. */
const { crc32 } = zlib as unknown as { readonly crc32: (bytes: Uint8Array, sum: number) => number };

const bytesOf = ({ buffer, byteOffset, byteLength }: Float32Array): Uint8Array =>
  new Uint8Array(buffer, byteOffset, byteLength);

/** The file's bytes piece by piece into each of `pieces` in turn: a checkpoint never lies in memory as a whole. */
function readInto(file: number, pieces: Iterable<Uint8Array>): void {
  let at = 0;
  for (const piece of pieces)
    for (let done = 0; done < piece.length; ) {
      const n = readSync(file, piece, done, piece.length - done, at);
      if (n === 0) throw new RangeError("it ends early");
      done += n;
      at += n;
    }
}

/** CRC-32 of a file of so many bytes. */
function sumOf(file: number, bytes: number): number {
  const piece = new Uint8Array(1 << 16);
  let sum = 0;
  for (let at = 0; at < bytes; ) {
    const n = readSync(file, piece, 0, piece.length, at);
    if (n === 0) throw new RangeError("it ends early");
    sum = crc32(piece.subarray(0, n), sum);
    at += n;
  }
  return sum;
}

/** Writes a checkpoint into an empty or missing folder. Throws OUTPUT_UNWRITABLE. */
export function saveCheckpoint(executor: TrainingExecutor, dir: string): void {
  if (existsSync(dir) && readdirSync(dir).length > 0)
    throw new MillraceError("OUTPUT_UNWRITABLE", `${dir} is not empty`, {
      hint: "give a checkpoint a folder of its own",
    });
  const temporary = `${dir.replace(/\/+$/, "")}.${process.pid}.tmp`;
  try {
    rmSync(temporary, { recursive: true, force: true });
    makeFolder(temporary);
    const tensors = tensorsOf(executor).map(bytesOf);
    {
      using file = new AtomicFileStream(join(temporary, files.tensors));
      for (const tensor of tensors) file.write(tensor);
      file.commit();
    }
    const state: z.infer<typeof stateSchema> = {
      schema: "millrace.memory-checkpoint/1",
      model: executor.setup.graph.name,
      fingerprint: fingerprintOf(executor),
      step: executor.step,
      seed: executor.setup.seed,
      bytes: tensors.reduce((sum, t) => sum + t.byteLength, 0),
      crc32: tensors.reduce((sum, tensor) => crc32(tensor, sum), 0),
    };
    writeFileAtomic(join(temporary, files.state), `${JSON.stringify(state, null, 2)}\n`);
    rmSync(dir, { recursive: true, force: true });
    renameSync(temporary, dir);
    const parent = openSync(dirname(dir), "r");
    fsyncSync(parent);
    closeSync(parent);
  } catch (error) {
    rmSync(temporary, { recursive: true, force: true });
    const reason = error instanceof MillraceError ? error.cause : error;
    throw new MillraceError(
      "OUTPUT_UNWRITABLE",
      `the checkpoint ${dir} cannot be written: ${systemReason(reason ?? error)}`,
      { hint: "make room there, or allow writing; checkpoints before it are whole", cause: error },
    );
  }
}

/** Goes on where a checkpoint was written. Throws CHECKPOINT_INVALID and changes nothing when it does not fit. */
export function loadCheckpoint(executor: TrainingExecutor, dir: string): void {
  const invalid = (why: string, cause?: unknown): MillraceError =>
    new MillraceError("CHECKPOINT_INVALID", `no checkpoint in ${dir}: ${why}`, {
      hint: "give the folder of a checkpoint of this model that was saved completely; of a run's folder, remove the damaged one: the one before it is gone on from",
      cause,
    });
  let state: z.infer<typeof stateSchema>;
  try {
    state = stateSchema.parse(JSON.parse(readFileSync(join(dir, files.state), "utf8")));
  } catch (error) {
    throw invalid(`its ${files.state} cannot be read`, error);
  }
  if (state.fingerprint !== fingerprintOf(executor))
    throw invalid(`it is of another model or optimizer (${state.model})`);
  if (state.seed !== executor.setup.seed)
    throw invalid(`its seed is ${state.seed}, this run's ${executor.setup.seed}`);
  const tensors = tensorsOf(executor).map(bytesOf);
  const wanted = tensors.reduce((sum, t) => sum + t.byteLength, 0);
  const path = join(dir, files.tensors);
  let file: number | null = null;
  try {
    const { size } = statSync(path);
    if (size !== wanted) throw invalid(`its tensors have ${size} bytes instead of ${wanted}`);
    file = openSync(path, "r");
    if (state.crc32 !== undefined && sumOf(file, wanted) !== state.crc32)
      throw invalid("its tensors are not what was written: their checksum differs");
    readInto(file, tensors);
  } catch (error) {
    if (error instanceof MillraceError) throw error;
    throw invalid(`its ${files.tensors} cannot be read`, error);
  } finally {
    if (file !== null) closeSync(file);
  }
  executor.step = state.step;
}
