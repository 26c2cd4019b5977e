/**
 * The kernels and their memory: tiles of at most 64 Ki elements that operands are copied through, so that operands may
 * lie anywhere and be of any size. Everything of it is 1.6 MiB, whatever the model.
 */
import { wasm } from "@millrace/core";
import { kernelBytes } from "./bytes.ts";
import { kernelBytes as planeBytes } from "./plane-bytes.ts";

/** The functions of kernels.wat: addresses in bytes, counts in elements. */
interface Kernels {
  mask_forward(x: number, y: number, mask: number, n: number, limit: number): void;
  clamp(x: number, y: number, n: number, limit: number): void;
  clamp_backward(y: number, dy: number, dx: number, n: number, limit: number): void;
  mask_backward(dy: number, mask: number, dx: number, n: number, bits: number): void;
  gelu_forward(x: number, y: number, n: number): void;
  gelu_backward(x: number, dy: number, dx: number, n: number): void;
  dropout(
    x: number,
    y: number,
    n: number,
    first: number,
    key: number,
    second: number,
    threshold: number,
    scale: number,
    lanes: number,
  ): void;
  sum(a: number, n: number): number;
  product(a: number, b: number, n: number, shift: number, mean: number): number;
  combine(
    a: number,
    b: number,
    y: number,
    n: number,
    p: number,
    s: number,
    q: number,
    t: number,
    r: number,
  ): void;
}

/** Operands of both functions of planes.wat; y is dy in the second. */
type PlaneKernel = (
  x: number,
  w: number,
  y: number,
  yw: number,
  yh: number,
  xw: number,
  kw: number,
  kh: number,
  stride: number,
  down: number,
) => void;

/** The functions of planes.wat: addresses in bytes, extents in elements. */
interface PlaneKernels {
  readonly plane_forward: PlaneKernel;
  /** x, dy, dw in place of x, w, y. */
  readonly plane_weights: PlaneKernel;
}

/** Elements of a tile; a multiple of 32. */
export const tileElements = 1 << 16;

const tileBytes = 4 * tileElements;
const pages = 26;

/** Where the tiles and constants lie, bytes. */
export const places = {
  bits: 0,
  lanes: 16,
  first: 64,
  second: 64 + tileBytes,
  third: 64 + 2 * tileBytes,
  fourth: 64 + 3 * tileBytes,
  mask: 64 + 4 * tileBytes,
} as const;

export interface TileMemory {
  readonly kernels: Kernels;
  readonly planes: PlaneKernels;
  /** `n` elements at a place. */
  floats(at: number, n: number): Float32Array;
  bytes(at: number, n: number): Uint8Array;
}

let made: TileMemory | null = null;

/** The one memory of this process, made on first use. */
export function tileMemory(): TileMemory {
  if (made !== null) return made;
  const memory = new wasm.Memory({ initial: pages, maximum: 64, shared: true });
  const functions = (bytes: string): unknown =>
    new wasm.Instance(new wasm.Module(Buffer.from(bytes, "base64")), { env: { memory } }).exports;
  const { buffer } = memory;
  new Int32Array(buffer, places.bits, 4).set([1, 2, 4, 8]);
  new Int32Array(buffer, places.lanes, 4).set([0, 1, 2, 3]);
  made = {
    kernels: functions(kernelBytes) as Kernels,
    planes: functions(planeBytes) as PlaneKernels,
    floats: (at, n) => new Float32Array(buffer, at, n),
    bytes: (at, n) => new Uint8Array(buffer, at, n),
  };
  return made;
}
