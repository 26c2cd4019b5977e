/**
 * A trained network as a safetensors file (huggingface/safetensors, format 0.4): parameters under the names that PyTorch's
 * models give them, and the running statistics of batch norm, so that it can be evaluated anywhere.
 */
import { AtomicFileStream } from "@millrace/core/node";
import type { TrainingExecutor } from "./executor.ts";

interface Entry {
  readonly name: string;
  readonly shape: readonly number[];
  readonly values: Float32Array;
}

/** Everything the trained network consists of, in the order of the graph. */
function entries(executor: TrainingExecutor): Entry[] {
  const parameters = executor.parameters.map(
    ({ name, dims, value }): Entry => ({ name, shape: dims, values: executor.values(value) }),
  );
  const statistics = executor.schedule.statistics.flatMap(({ name, channels, running }) => {
    const values = executor.values(running);
    return [
      { name: `${name}.running_mean`, shape: [channels], values: values.subarray(0, channels) },
      { name: `${name}.running_var`, shape: [channels], values: values.subarray(channels) },
    ];
  });
  return [...parameters, ...statistics];
}

/** Writes the file; it appears complete or not at all. Throws OUTPUT_UNWRITABLE. */
export function exportSafetensors(
  executor: TrainingExecutor,
  path: string,
): { readonly bytes: number } {
  const all = entries(executor);
  const header: Record<string, unknown> = {
    __metadata__: { format: "pt", model: executor.setup.graph.name, step: String(executor.step) },
  };
  let at = 0;
  for (const { name, shape, values } of all) {
    header[name] = { dtype: "F32", shape, data_offsets: [at, at + values.byteLength] };
    at += values.byteLength;
  }
  // The data begin on a border of 8 bytes: the header is padded with spaces, which JSON does not mind.
  const text = JSON.stringify(header);
  const json = Buffer.from(text.padEnd(text.length + ((8 - (Buffer.byteLength(text) % 8)) % 8)));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  using file = new AtomicFileStream(path);
  file.write(length);
  file.write(json);
  for (const { values } of all)
    file.write(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
  file.commit();
  return { bytes: 8 + json.length + at };
}
