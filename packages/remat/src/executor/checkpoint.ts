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
  renameSync,
  rmSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { hash128, MillraceError } from "@millrace/core";
import { AtomicFileStream, makeFolder, writeFileAtomic } from "@millrace/core/node";
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
    const tensors = tensorsOf(executor);
    {
      using file = new AtomicFileStream(join(temporary, files.tensors));
      for (const { buffer, byteOffset, byteLength } of tensors)
        file.write(new Uint8Array(buffer, byteOffset, byteLength));
      file.commit();
    }
    const state: z.infer<typeof stateSchema> = {
      schema: "millrace.memory-checkpoint/1",
      model: executor.setup.graph.name,
      fingerprint: fingerprintOf(executor),
      step: executor.step,
      seed: executor.setup.seed,
      bytes: tensors.reduce((sum, t) => sum + t.byteLength, 0),
    };
    writeFileAtomic(join(temporary, files.state), `${JSON.stringify(state, null, 2)}\n`);
    rmSync(dir, { recursive: true, force: true });
    renameSync(temporary, dir);
    const parent = openSync(dirname(dir), "r");
    fsyncSync(parent);
    closeSync(parent);
  } catch (error) {
    rmSync(temporary, { recursive: true, force: true });
    if (error instanceof MillraceError) throw error;
    throw new MillraceError("OUTPUT_UNWRITABLE", `the checkpoint ${dir} cannot be written`, {
      cause: error,
    });
  }
}

/** Goes on where a checkpoint was written. Throws CHECKPOINT_INVALID and changes nothing when it does not fit. */
export function loadCheckpoint(executor: TrainingExecutor, dir: string): void {
  const invalid = (why: string, cause?: unknown): MillraceError =>
    new MillraceError("CHECKPOINT_INVALID", `no checkpoint in ${dir}: ${why}`, {
      hint: "give the folder of a checkpoint of this model that was saved completely",
      cause,
    });
  let state: z.infer<typeof stateSchema>;
  let bytes: Buffer;
  try {
    state = stateSchema.parse(JSON.parse(readFileSync(join(dir, files.state), "utf8")));
    bytes = readFileSync(join(dir, files.tensors));
  } catch (error) {
    throw invalid("its files cannot be read", error);
  }
  if (state.fingerprint !== fingerprintOf(executor))
    throw invalid(`it is of another model or optimizer (${state.model})`);
  if (state.seed !== executor.setup.seed)
    throw invalid(`its seed is ${state.seed}, this run's ${executor.setup.seed}`);
  const tensors = tensorsOf(executor);
  const wanted = tensors.reduce((sum, t) => sum + t.byteLength, 0);
  if (bytes.byteLength !== wanted)
    throw invalid(`its tensors have ${bytes.byteLength} bytes instead of ${wanted}`);
  let at = 0;
  for (const { buffer, byteOffset, byteLength } of tensors) {
    new Uint8Array(buffer, byteOffset, byteLength).set(bytes.subarray(at, at + byteLength));
    at += byteLength;
  }
  executor.step = state.step;
}
