/** Operators that move or gather elements of planes: pooling, joining along the channels, enlarging. */
import {
  type Across,
  cont,
  mean,
  type Pooling,
  pool2d,
  pool2dBack,
  repeat,
  repeatBack,
  reshape,
  type Sliding,
  scale,
  type Tensor,
  transposed,
  windowedExtents,
} from "@millrace/ggml";
import { enlarge, enlargeBackward } from "../../kernels/enlarge.ts";
import { poolBackward, poolForward } from "../../kernels/host.ts";
import type { KernelBuilder } from "../kernel.ts";
import {
  count,
  type OperationOf,
  type OperatorKind,
  type OperatorShape,
  whole,
} from "./operator.ts";

type Pool = OperationOf<"maxPool" | "averagePool">;

/** Whether the output is as large as ggml makes it: the last window may otherwise reach past the end (PyTorch's ceil_mode). */
function whollyInside(op: OperatorShape): boolean {
  const [width = 0, height = 0] = op.inputs[0] ?? [];
  const inside = windowedExtents([width, height], ...windowOf(op));
  return inside[0] === op.output[0] && inside[1] === op.output[1];
}

/** Windows whose padding is at most half of them, and of at most 16 elements where they reach past the end of the input. */
export function poolSupported(op: OperatorShape): boolean {
  const { kind, kernel, padding } = op.operation as Pool;
  const covered = 2 * padding[0] <= kernel[0] && 2 * padding[1] <= kernel[1];
  return covered && (whollyInside(op) || (kind === "maxPool" && packs(op)));
}

function windowOf(op: OperatorShape): readonly [Across, Sliding] {
  const { kernel, stride, padding } = op.operation as Pool;
  return [
    [kernel[1], kernel[0]],
    { stride: [stride[1], stride[0]], pad: [padding[1], padding[0]] },
  ];
}

const packs = (op: OperatorShape): boolean => {
  const { kernel } = op.operation as Pool;
  return kernel[0] * kernel[1] <= 16;
};

const plainPool = (kind: Pooling): OperatorKind => ({
  forward: [
    {
      name: "copy",
      fits: whollyInside,
      code: {
        native: (op) => (k) =>
          void k.into("y", pool2d(k.arena, k.operand("x0"), kind, ...windowOf(op))),
      },
    },
  ],
  backward: [
    {
      ...whole("input", ["x0"], {
        native: (op) => (k) => {
          const [dy, x] = [k.operand("dy"), k.operand("x0")];
          k.into("dx0", pool2dBack(k.arena, dy, x, kind, ...windowOf(op)));
        },
      }),
      fits: whollyInside,
    },
  ],
});

const from = (op: OperatorShape): readonly number[] => op.inputs[0] as readonly number[];

export const averagePool: OperatorKind = plainPool("average");
export const maxPool: OperatorKind = {
  forward: [
    ...plainPool("max").forward,
    {
      name: "packed",
      fits: packs,
      auxiliaryBytes: (op) => Math.ceil(count(op.output) / 2),
      code: { host: (o, op) => poolForward(o, from(op), op.output, ...windowOf(op)) },
    },
  ],
  backward: [
    ...plainPool("max").backward,
    {
      ...whole("packed", ["a"], {
        host: (o, op) => poolBackward(o, from(op), op.output, ...windowOf(op)),
      }),
      fits: packs,
    },
  ],
};
/** [W, H, N, C] → [C, N]. */
export const globalAveragePool: OperatorKind = {
  forward: [
    {
      name: "copy",
      code: {
        native: () => (k) => {
          const { arena } = k;
          const x = k.operand("x0");
          const [w, h, n, c] = x.ne;
          const means = mean(arena, reshape(arena, x, [w * h, n, c]));
          k.into("y", cont(arena, transposed(arena, reshape(arena, means, [n, c]))));
        },
      },
    },
  ],
  backward: [
    whole("copy", [], {
      native: () => (k) => {
        const { arena } = k;
        const dx = k.operand("dx0");
        const [w, h, n, c] = dx.ne;
        const small = scale(arena, cont(arena, transposed(arena, k.operand("dy"))), 1 / (w * h));
        const like = reshape(arena, dx, [w * h, n * c]);
        k.into("dx0", repeat(arena, reshape(arena, small, [1, n * c]), like));
      },
    }),
  ],
};

/** Parts joined along the channels, the slowest dimension: each lies behind the other. */
export const concatenation: OperatorKind = {
  forward: [
    {
      name: "copy",
      code: {
        host: (operands, op) => {
          const y = operands.get("y") as Uint8Array;
          eachPart(op, (i, start) => y.set(operands.get(`x${i}`) as Uint8Array, start));
        },
      },
    },
  ],
  backward: [
    whole("copy", [], {
      host: (operands, op) => {
        const dy = operands.get("dy") as Uint8Array;
        eachPart(op, (i, start) => {
          const dx = operands.get(`dx${i}`) as Uint8Array;
          dx.set(dy.subarray(start, start + dx.length));
        });
      },
    }),
  ],
};

/** Calls `body` with each input's position and the byte where it begins in the output. */
function eachPart(op: OperatorShape, body: (position: number, start: number) => void): void {
  let start = 0;
  op.inputs.forEach((ne, i) => {
    body(i, start);
    start += 4 * count(ne);
  });
}

/** The elements of [W, H, …] and of its enlargement, one a group: [1, W, 1, rest] and [scale, W, scale, rest]. */
function squares(k: KernelBuilder, op: OperatorShape, small: Tensor, large: Tensor) {
  const { scale: factor } = op.operation as OperationOf<"upsample">;
  const [w, ...rest] = small.ne;
  return [
    reshape(k.arena, small, [1, w, 1, count(rest)]),
    reshape(k.arena, large, [factor, w, factor, count(rest)]),
  ] as const;
}

const bilinear = (op: OperatorShape): boolean =>
  (op.operation as OperationOf<"upsample">).mode === "bilinear";
const nearest = (op: OperatorShape): boolean => !bilinear(op);

function enlargement(op: OperatorShape) {
  const { scale: factor } = op.operation as OperationOf<"upsample">;
  const [w = 1, h = 1] = from(op);
  return [[w, h], factor] as const;
}

export const upsampling: OperatorKind = {
  forward: [
    {
      name: "bilinear",
      fits: bilinear,
      code: { host: (operands, op) => enlarge(operands, ...enlargement(op)) },
    },
    {
      name: "copy",
      fits: nearest,
      code: {
        native: (op) => (k) => {
          const [x, y] = squares(k, op, k.operand("x0"), k.operand("y"));
          k.into("y", repeat(k.arena, x, y));
        },
      },
    },
  ],
  backward: [
    {
      ...whole("bilinear", [], {
        host: (operands, op) => enlargeBackward(operands, ...enlargement(op)),
      }),
      fits: bilinear,
    },
    {
      ...whole("copy", [], {
        native: (op) => (k) => {
          const [dx, dy] = squares(k, op, k.operand("dx0"), k.operand("dy"));
          k.into("dx0", repeatBack(k.arena, dy, dx));
        },
      }),
      fits: nearest,
    },
  ],
};
