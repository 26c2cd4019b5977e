/** Single-precision values as the bytes of a tensor format. */
import { MillraceError } from "@millrace/core";
import type { TensorType } from "../tensor-types.ts";
import { toBfloat, toHalf } from "./half.ts";

/** Turns whole rows of values into bytes; the result may be overwritten by the next call. */
export type Encoder = (values: Float32Array) => Uint8Array;

/**
 * The encoder of a format for at most `most` values a call. Throws MillraceError
 * MODEL_UNSUPPORTED for formats that cannot be written.
 */
export function encoder(type: TensorType, most: number): Encoder {
  switch (type) {
    case "f32":
      return (values) => new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    case "f16":
    case "bf16": {
      const convert = type === "f16" ? toHalf : toBfloat;
      const out = new Uint16Array(most);
      return (values) => {
        convert(values, out);
        return new Uint8Array(out.buffer, 0, values.length * 2);
      };
    }
    default:
      throw new MillraceError("MODEL_UNSUPPORTED", `tensors cannot be written as ${type}`, {
        hint: "choose f32, f16 or bf16",
      });
  }
}
