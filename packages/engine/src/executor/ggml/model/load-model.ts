/** A model file opened for computing: shape read, tensors placed on a device. */
import type { Device, Ggml } from "@millrace/ggml";
import { type Gguf, openGguf } from "@millrace/ggml/gguf";
import { type DecoderShape, decoderShape } from "./decoder-shape.ts";
import { type DecoderWeights, decoderWeights } from "./decoder-weights.ts";
import { Weights } from "./weights.ts";

export class LoadedModel implements Disposable {
  readonly device: Device;
  readonly shape: DecoderShape;
  readonly weights: DecoderWeights;
  /** Tensors that graphs may name. */
  readonly tensors: number;
  readonly #gguf: Gguf;
  readonly #placed: Weights;

  private constructor(device: Device, gguf: Gguf, shape: DecoderShape, placed: Weights) {
    this.device = device;
    this.shape = shape;
    this.weights = decoderWeights(placed, shape);
    this.tensors = gguf.tensors.length + 2;
    this.#gguf = gguf;
    this.#placed = placed;
  }

  /**
   * Maps the file and places its tensors. Throws FILE_UNREADABLE, GGUF_INVALID, MODEL_UNSUPPORTED, GGML_FAILED (no room for
   * copies).
   */
  static open(ggml: Ggml, device: Device, path: string, repack: boolean): LoadedModel {
    const gguf = openGguf(path);
    let placed: Weights | null = null;
    try {
      const shape = decoderShape(gguf);
      placed = new Weights(ggml, device, gguf, repack);
      return new LoadedModel(device, gguf, shape, placed);
    } catch (error) {
      placed?.[Symbol.dispose]();
      gguf[Symbol.dispose]();
      throw error;
    }
  }

  /** Bytes copied out of the file (repacked tensors, other devices). */
  get copiedBytes(): number {
    return this.#placed.copiedBytes;
  }

  [Symbol.dispose](): void {
    this.#placed[Symbol.dispose]();
    this.#gguf[Symbol.dispose]();
  }
}
