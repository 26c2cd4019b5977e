/** The loss, a few rows of logits at a time. Classes of pixels lie in planes and are brought together row by row. */
import {
  addInplace,
  cont,
  cpy,
  getRows,
  log,
  reshape,
  scale,
  scaleBias,
  scaleInplace,
  setRows,
  softMax,
  sum,
  type Tensor,
  transposed,
  view,
} from "@millrace/ggml";
import type { KernelBuilder } from "../kernel.ts";
import { count, type OperatorKind, whole } from "./operator.ts";

/** Most bytes of probabilities at once. */
const chunkBytes = 1 << 20;

/** Rows of logits at a time. */
function chunkRows(classes: number): number {
  return Math.max(1, Math.floor(chunkBytes / (4 * classes)));
}

/** What the loss reads for labels (row by row, each in [0, classes)): the place of each among its chunk's elements. */
export function labelPlaces(labels: Int32Array, classes: number, into: Int32Array): void {
  const rows = chunkRows(classes);
  for (let i = 0; i < labels.length; i++) into[i] = (labels[i] as number) + classes * (i % rows);
}

/** Some rows of the logits [classes, …] or [W, H, N, classes]. */
interface Chunk {
  /** Of the labels, i32 [rows]. */
  readonly places: Tensor;
  readonly rows: number;
  readonly classes: number;
  /** The chunk of x or of something of its shape: [classes, rows], or a view [rows, classes] where classes are planes. */
  of(whole: Tensor): Tensor;
}

/** Calls `body` for each chunk of the logits x0; gives their rows. */
function eachChunk(k: KernelBuilder, body: (chunk: Chunk) => void): number {
  const x = k.operand("x0");
  const planes = inPlanes(x);
  const classes = x.ne[planes ? 3 : 0];
  const all = count(x.ne) / classes;
  const size = chunkRows(classes);
  for (let first = 0; first < all; first += size) {
    const rows = Math.min(size, all - first);
    body({
      places: view(k.arena, k.operand("r0"), [rows], [], 4 * first),
      rows,
      classes,
      of: (t) =>
        planes
          ? view(k.arena, t, [rows, classes], [4 * all], 4 * first)
          : view(k.arena, t, [classes, rows], [], 4 * classes * first),
    });
  }
  return all;
}

/** Logits of text and of whole images have two or three dimensions, those of pixels four. */
const inPlanes = (x: Tensor): boolean => x.ne[3] > 1;

/** softmax of a chunk: [classes, rows]. */
function probabilities(k: KernelBuilder, { of }: Chunk): Tensor {
  const x = k.operand("x0");
  const some = of(x);
  return softMax(k.arena, inPlanes(x) ? cont(k.arena, transposed(k.arena, some)) : some, null, 1);
}

/** Mean of -ln softmax(x)[label] over the rows; a row's loss is at most 103, since single precision ends there. */
export const crossEntropy: OperatorKind = {
  forward: [
    {
      name: "softmax",
      code: {
        native: () => (k) => {
          const { arena } = k;
          const parts: Tensor[] = [];
          const rows = eachChunk(k, (chunk) => {
            const n = chunk.rows;
            const p = reshape(arena, probabilities(k, chunk), [1, chunk.classes * n]);
            const chosen = reshape(arena, getRows(arena, p, chunk.places), [n]);
            const part = sum(arena, log(arena, chosen));
            const total = parts.pop();
            parts.push(k.run(total === undefined ? part : addInplace(arena, total, part)));
          });
          k.into("y", scale(arena, parts[0] as Tensor, -1 / rows));
        },
      },
    },
  ],
  backward: [
    whole("softmax", ["x0"], {
      native: () => (k) => {
        const { arena } = k;
        const x = k.operand("x0");
        const planes = inPlanes(x);
        const dx = planes
          ? k.operand("dx0")
          : k.into(
              "dx0",
              softMax(arena, reshape(arena, x, [x.ne[0], count(x.ne) / x.ne[0]]), null, 1),
            );
        const all = count(x.ne) / x.ne[planes ? 3 : 0];
        eachChunk(k, (chunk) => {
          const p = planes ? k.run(probabilities(k, chunk)) : chunk.of(dx);
          const list = view(arena, p, [1, chunk.classes * chunk.rows]);
          const less = k.run(scaleBias(arena, getRows(arena, list, chunk.places), 1, -1));
          k.run(setRows(arena, list, less, chunk.places));
          if (!planes) return;
          k.run(scaleInplace(arena, p, 1 / all));
          k.run(cpy(arena, transposed(arena, p), chunk.of(dx)));
        });
        if (!planes) k.run(scaleInplace(arena, dx, 1 / all));
      },
    }),
  ],
};
