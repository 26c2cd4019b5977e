/** Transforms by their plain-data choice, as every worker makes them. */
import { MillraceError } from "@millrace/core";
import { type SampleSpec, sampleBytes } from "../batch/batch.ts";
import { ImageTransform } from "./image-transform.ts";
import type {
  BytesTransformSpec,
  ModuleTransformSpec,
  TokenTransformSpec,
  Transform,
  TransformSpec,
} from "./transform.ts";

/** The transform. Throws MillraceError CONFIG_INVALID (a module without the export) or ENVIRONMENT_MISSING (decoder). */
export async function makeTransform(spec: TransformSpec): Promise<Transform> {
  switch (spec.kind) {
    case "image":
      return new ImageTransform(spec);
    case "tokens":
      return tokens(spec);
    case "bytes":
      return bytes(spec);
    case "module":
      return fromModule(spec);
  }
}

/** Shape and type of what the transform makes, without making it. */
export function outputSpec(spec: TransformSpec): SampleSpec {
  switch (spec.kind) {
    case "image":
      return {
        type: spec.type,
        shape: spec.layout === "nchw" ? [3, spec.size, spec.size] : [spec.size, spec.size, 3],
      };
    case "tokens":
      return { type: "i32", shape: [spec.length] };
    case "bytes":
      return { type: "u8", shape: [spec.length] };
    case "module":
      return spec.output;
  }
}

function tokens(spec: TokenTransformSpec): Transform {
  const { width, length, padding = 0 } = spec;
  return {
    spec: outputSpec(spec),
    apply(input, out) {
      if (input.length % width !== 0 || input.length > width * length)
        throw new Error(
          `${input.length} bytes are no window of up to ${length} ${width}-byte tokens`,
        );
      const target = new Int32Array(out.buffer, out.byteOffset, length);
      const source = new DataView(input.buffer, input.byteOffset, input.length);
      const n = input.length / width;
      for (let i = 0; i < n; i++)
        target[i] = width === 2 ? source.getUint16(2 * i, true) : source.getInt32(4 * i, true);
      target.fill(padding, n);
    },
  };
}

function bytes(spec: BytesTransformSpec): Transform {
  return {
    spec: outputSpec(spec),
    apply(input, out) {
      if (input.length > spec.length)
        throw new Error(`${input.length} bytes are more than the ${spec.length} of a sample`);
      out.set(input);
      out.fill(0, input.length);
    },
  };
}

async function fromModule(spec: ModuleTransformSpec): Promise<Transform> {
  const name = spec.name ?? "transform";
  const loaded = (await import(spec.url)) as Readonly<Record<string, unknown>>;
  const make = loaded[name];
  if (typeof make !== "function")
    throw new MillraceError("CONFIG_INVALID", `${spec.url} exports no function ${name}`, {
      hint: `export function ${name}(options) that returns { spec, apply(input, out, context) }`,
    });
  const made = (await make(spec.options)) as Transform;
  if (sampleBytes(made.spec) !== sampleBytes(spec.output))
    throw new MillraceError(
      "CONFIG_INVALID",
      `${name} of ${spec.url} makes [${made.spec.shape}] ${made.spec.type}, and [${spec.output.shape}] ${spec.output.type} were announced`,
    );
  return made;
}
