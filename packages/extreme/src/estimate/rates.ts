/** How fast the kernels are: measured in a second on the machine at hand, or the reference machine's figures. */
import { floats, Heap, ints, shorts } from "../kernels/heap.ts";

export interface Rates {
  /** Flops a second of the products of groups and labels, gathers included. */
  readonly groupFlops: number;
  /** Of the kernel for labels of single points. */
  readonly raggedFlops: number;
  /** Of the embedding bag, forward and back. */
  readonly bagFlops: number;
  /** Of the fixed-point scan. */
  readonly scanFlops: number;
  /** Seconds a point, whatever the sizes: drawing, bookkeeping. */
  readonly pointSeconds: number;
  /** Seconds a place of a shortlist: thresholds, re-scoring, sorting. */
  readonly pickSeconds: number;
}

/** One core of an AMD EPYC of family 26 at 2.6 GHz, WebAssembly SIMD of Node 20. */
export const referenceRates: Rates = {
  groupFlops: 30e9,
  raggedFlops: 12e9,
  bagFlops: 6e9,
  scanFlops: 85e9,
  pointSeconds: 3e-6,
  pickSeconds: 0.4e-6,
};

/** Seconds that `work` takes, the median of some repeats after a warm-up. */
function secondsOf(work: () => void, repeats = 7): number {
  for (let i = 0; i < 3; i++) work();
  const times = Array.from({ length: repeats }, () => {
    const start = performance.now();
    work();
    return (performance.now() - start) / 1e3;
  }).sort((a, b) => a - b);
  return times[repeats >> 1] as number;
}

/** Measures the four kernel rates at `dim`; the two constants are scaled by the ragged kernel's. */
export function measureRates(dim: number): Rates {
  const heap = new Heap();
  const labels = 8192;
  const w = floats(heap, labels * dim);
  w.view.fill(1e-3);
  const z = floats(heap, 64 * dim);
  z.view.fill(0.5);
  const dz = floats(heap, 64 * dim);
  const scores = floats(heap, 64 * 512);
  const ids = ints(heap, 512);
  const gathered = floats(heap, 64 * dim);
  const weights = floats(heap, 64);
  const { kernels } = heap;
  let seed = 1;
  const draw = (n: number): void => {
    for (let i = 0; i < n; i++) {
      seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
      ids.view[i] = seed % labels;
    }
  };
  const group = 16;
  const groupSeconds = secondsOf(() => {
    for (let round = 0; round < 200; round++) {
      draw(64);
      kernels.gather(w.at, dim * 4, ids.at, 64, gathered.at);
      kernels.gemm(
        64,
        group,
        dim,
        gathered.at,
        dim * 4,
        4,
        z.at,
        group * 4,
        scores.at,
        group * 4,
        1,
      );
      kernels.gradients(scores.at, 64 * group, -9, 1);
      kernels.gemm(
        group,
        dim,
        64,
        scores.at,
        4,
        group * 4,
        gathered.at,
        dim * 4,
        dz.at,
        dim * 4,
        1,
      );
      kernels.gemm(64, dim, group, scores.at, group * 4, 4, z.at, dim * 4, gathered.at, dim * 4, 0);
      kernels.scatter(w.at, dim * 4, ids.at, 64, gathered.at);
    }
  });
  const raggedSeconds = secondsOf(() => {
    for (let round = 0; round < 400; round++) {
      draw(32);
      kernels.ragged(z.at, dz.at, dim, w.at, ids.at, weights.at, 32, 2, -9, 0);
    }
  });
  const bagSeconds = secondsOf(() => {
    for (let round = 0; round < 400; round++) {
      draw(16);
      kernels.bag(w.at, dim, ids.at, weights.at, 16, z.at);
    }
  });
  const fixed = shorts(heap, 64 * dim);
  const packed = shorts(heap, 512 * dim);
  const scales = floats(heap, 512);
  const scanSeconds = secondsOf(() => {
    for (let round = 0; round < 20; round++)
      kernels.scan(fixed.at, 64, dim, packed.at, 64, scales.at, scores.at, 512 * 4);
  });
  const raggedFlops = (400 * 32 * dim * 6) / raggedSeconds;
  const slower = referenceRates.raggedFlops / raggedFlops;
  return {
    groupFlops: ((200 * 64 * group * dim * 6) / groupSeconds) * bookkeeping,
    raggedFlops,
    bagFlops: (400 * 16 * dim * 2) / bagSeconds,
    scanFlops: ((20 * 64 * 512 * dim * 2) / scanSeconds) * bookkeeping,
    pointSeconds: referenceRates.pointSeconds * slower,
    pickSeconds: referenceRates.pickSeconds * slower,
  };
}

/** What is left of a kernel's own speed once its surroundings are counted. */
const bookkeeping = 0.8;
