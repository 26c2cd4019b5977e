/** Matrix products with trained weights, and look-ups in trained tables. */
import {
  addInplace,
  cont,
  getRows,
  getRowsBack,
  mulMat,
  outProd,
  permute,
  repeatBack,
  reshape,
  type Tensor,
  transposed,
  view,
} from "@millrace/ggml";
import type { KernelBuilder } from "../kernel.ts";
import {
  type BackwardPart,
  count,
  type OperationOf,
  type OperatorKind,
  type OperatorShape,
  whole,
} from "./operator.ts";

const flattens = (op: OperatorShape): boolean =>
  (op.operation as OperationOf<"linear">).flatten &&
  (op.inputs[0] as readonly number[]).length === 4;

/** x [in, …] as a matrix [in, n]; images of [W, H, N, C] become a copy [W·H·C, N] when they are flattened. */
function rows(k: KernelBuilder, op: OperatorShape): Tensor {
  const { arena } = k;
  const x = k.operand("x0");
  if (!flattens(op)) return reshape(arena, x, [x.ne[0], count(x.ne) / x.ne[0]]);
  const [w, h, n, c] = x.ne;
  return reshape(arena, cont(arena, permute(arena, x, [0, 1, 3, 2])), [w * h * c, n]);
}

function asMatrix(k: KernelBuilder, name: string): Tensor {
  const t = k.operand(name);
  return reshape(k.arena, t, [t.ne[0], count(t.ne) / t.ne[0]]);
}

/** dw0 = x dyᵀ: row by row, or as a product of the transposed sides. */
function weights(k: KernelBuilder, op: OperatorShape, form: "outer" | "gemm"): void {
  const { arena } = k;
  const x = rows(k, op);
  const dy = asMatrix(k, "dy");
  const turned = (t: Tensor): Tensor => cont(arena, transposed(arena, t));
  k.into("dw0", form === "outer" ? outProd(arena, x, dy) : mulMat(arena, turned(x), turned(dy)));
  if (k.has("dw1")) k.into("dw1", repeatBack(arena, dy, asMatrix(k, "dw1")));
}

/** dx0 = Wᵀ dy. */
function inputs(k: KernelBuilder, op: OperatorShape, form: "outer" | "gemm"): void {
  const { arena } = k;
  const w = k.operand("w0");
  const dy = asMatrix(k, "dy");
  const dx =
    form === "outer"
      ? outProd(arena, w, transposed(arena, dy))
      : mulMat(arena, cont(arena, transposed(arena, w)), dy);
  if (!flattens(op)) {
    k.into("dx0", dx);
    return;
  }
  const [width, h, n, c] = k.operand("dx0").ne;
  const images = reshape(arena, dx, [width, h, c, n]);
  k.into("dx0", cont(arena, permute(arena, images, [0, 1, 3, 2])));
}

type Half = (k: KernelBuilder, op: OperatorShape, form: "outer" | "gemm") => void;

const part = (
  half: Half,
  form: "outer" | "gemm",
  needs: readonly string[],
  writes: BackwardPart["writes"],
): BackwardPart => ({ needs, writes, code: { native: (op) => (k) => half(k, op, form) } });

export const linear: OperatorKind = {
  forward: [
    {
      name: "gemm",
      code: {
        native: (op) => (k) => {
          const y = k.into("y", mulMat(k.arena, k.operand("w0"), rows(k, op)));
          if (k.has("w1")) k.run(addInplace(k.arena, y, k.operand("w1")));
        },
      },
    },
  ],
  backward: (["gemm", "outer"] as const).flatMap((w) =>
    (["gemm", "outer"] as const).map((x) => ({
      name: `${w}+${x}`,
      parts: [part(weights, w, ["x0"], "parameters"), part(inputs, x, [], "inputs")],
    })),
  ),
};

/** tokens → [width, tokens, batch], with learned positions added where the operation has them. */
export const embedding: OperatorKind = {
  forward: [
    {
      name: "rows",
      code: {
        native: () => (k) => {
          const y = k.into("y", getRows(k.arena, k.operand("w0"), k.operand("r0")));
          if (!k.has("w1")) return;
          const [width, tokens, batch] = k.operand("y").ne;
          const places = view(k.arena, k.operand("w1"), [width, tokens]);
          k.run(addInplace(k.arena, reshape(k.arena, y, [width, tokens, batch]), places));
        },
      },
    },
  ],
  backward: [
    whole("rows", [], {
      native: () => (k) => {
        const { arena } = k;
        k.into("dw0", getRowsBack(arena, asMatrix(k, "dy"), k.operand("r0"), k.operand("w0")));
        if (!k.has("dw1")) return;
        const dy = k.operand("dy");
        const [width, tokens, batch] = dy.ne;
        const like = view(arena, dy, [width, tokens]);
        const sums = repeatBack(arena, reshape(arena, dy, [width, tokens, batch]), like);
        k.into("dw1", getRowsBack(arena, sums, k.operand("places"), k.operand("w1")));
      },
    }),
  ],
  constants: (op) => {
    const tokens = op.output[1] as number;
    return op.parameters.length < 2
      ? new Map()
      : new Map([["places", Int32Array.from({ length: tokens }, (_, i) => i)]]);
  },
};
