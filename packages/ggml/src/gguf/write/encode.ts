/** Single-precision values as the bytes of a tensor format. */
import { loadGgml } from "../../ggml.ts";
import { quantize } from "../../quantize.ts";
import type { TensorType } from "../tensor-types.ts";
import { toBfloat, toHalf } from "./half.ts";

/** Turns whole rows of values into bytes; the result may be overwritten by the next call. */
export type Encoder = (values: Float32Array) => Uint8Array;

/**
 * The encoder of a format for at most `most` values a call, in rows of `columns`. Floats are converted here; block formats
 * by ggml, which is loaded for them alone. Throws GGML_UNAVAILABLE, and GGML_SHAPE for formats that need more than values.
 */
export function encoder(type: TensorType, most: number, columns: number): Encoder {
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
      loadGgml();
      return (values) => quantize(type, values, columns);
  }
}
