import { readFileSync } from "node:fs";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { MillraceError } from "@millrace/core";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { rooflineCosts } from "../costs/roofline.ts";
import { gpuLibrary } from "../gpu/library.ts";
import { lower } from "../graph/lower.ts";
import { storeAll } from "../solve/reference.ts";
import { importOnnx } from "./onnx-import.ts";
import { readOnnx } from "./onnx-model.ts";
import { parseTrace } from "./trace-file.ts";

const sample = readFileSync(new URL("./samples/torch-1.13.onnx", import.meta.url));

/** A nested message. */
const message = (write: (w: BinaryWriter) => void): Uint8Array => {
  const w = new BinaryWriter();
  write(w);
  return w.finish();
};
const field = (w: BinaryWriter, no: number, bytes: Uint8Array): BinaryWriter =>
  w.tag(no, WireType.LengthDelimited).bytes(bytes);
const text = (w: BinaryWriter, no: number, value: string): BinaryWriter =>
  w.tag(no, WireType.LengthDelimited).string(value);

type Attribute = readonly [name: string, values: number | readonly number[]];

/** A model of nodes [type, inputs, output, attributes] over an input x of a shape, with weights by name. */
function model(
  nodes: readonly (readonly [string, readonly string[], string, (readonly Attribute[])?])[],
  weights: Readonly<Record<string, readonly number[]>> = {},
  dims: readonly number[] = [0, 3, 8, 8],
  location?: string,
): Uint8Array {
  return message((m) =>
    field(
      m,
      7,
      message((g) => {
        for (const [type, inputs, output, attributes = []] of nodes)
          field(
            g,
            1,
            message((n) => {
              for (const name of inputs) text(n, 1, name);
              text(n, 2, output);
              text(n, 4, type);
              for (const [name, values] of attributes)
                field(
                  n,
                  5,
                  message((a) => {
                    text(a, 1, name);
                    const single = typeof values === "number";
                    if (single) a.tag(3, WireType.Varint).int64(values);
                    else for (const v of values) a.tag(8, WireType.Varint).int64(v);
                    a.tag(20, WireType.Varint).int32(single ? 2 : 7);
                  }),
                );
            }),
          );
        for (const [name, shape] of Object.entries(weights))
          field(
            g,
            5,
            message((t) => {
              for (const d of shape) t.tag(1, WireType.Varint).int64(d);
              t.tag(2, WireType.Varint).int32(1);
              text(t, 8, name);
              // Single numbers come with their value.
              if (shape.length === 1 && shape[0] === 1)
                field(t, 9, new Uint8Array(Float32Array.of(2).buffer));
              if (location !== undefined)
                field(
                  t,
                  13,
                  message((e) => {
                    text(e, 1, "location");
                    text(e, 2, location);
                  }),
                );
            }),
          );
        const shape = message((s) => {
          for (const d of dims)
            field(
              s,
              1,
              message((dim) => {
                if (d > 0) dim.tag(1, WireType.Varint).int64(d);
                else text(dim, 2, "batch");
              }),
            );
        });
        const type = message((t) =>
          field(
            t,
            1,
            message((tensor) => {
              tensor.tag(1, WireType.Varint).int32(1);
              field(tensor, 2, shape);
            }),
          ),
        );
        field(
          g,
          11,
          message((i) => {
            text(i, 1, "x");
            field(i, 2, type);
          }),
        );
      }),
    ),
  );
}

const imported = (bytes: Uint8Array, batch = 4) =>
  importOnnx(readOnnx(bytes, "m.onnx"), "m.onnx", { batch });

describe("ONNX", () => {
  test("a file that torch wrote becomes a graph at any batch", () => {
    const graph = imported(sample, 6);
    expect(graph.operators.map((op) => `${op.operation.kind} ${op.dims.join("x")}`)).toEqual([
      "conv2d 6x4x8x8",
      "batchNorm 6x4x8x8",
      "relu 6x4x8x8",
      "maxPool 6x4x4x4",
      "conv2d 6x4x4x4",
      "activation 6x4x4x4",
      "add 6x4x4x4",
      "linear 6x5",
      "crossEntropy 1",
    ]);
    expect(graph.operators[7]?.parameters.map((p) => p.dims)).toEqual([[5, 64], [5]]);
    const costs = rooflineCosts("a100");
    expect(
      storeAll(lower(graph, { library: gpuLibrary, costs, optimizerState: 0 })).peak,
    ).toBeGreaterThan(0);
  });

  test("windows follow the standard: transposed, dilated, padded on one side, rounded up", () => {
    const shape = (
      nodes: Parameters<typeof model>[0],
      weights: Parameters<typeof model>[1] = {},
      dims: readonly number[] = [0, 3, 8, 8],
    ): string => {
      const op = imported(model(nodes, weights, dims)).operators[0];
      return `${op?.operation.kind} ${op?.dims.join("x")}`;
    };
    const up: Attribute[] = [
      ["strides", [2, 2]],
      ["pads", [1, 1, 1, 1]],
      ["output_padding", [1, 1]],
    ];
    expect(shape([["ConvTranspose", ["x", "w"], "y", up]], { w: [3, 5, 3, 3] })).toBe(
      "convTranspose2d 4x5x16x16",
    );
    expect(shape([["ConvTranspose", ["x", "w"], "y"]], { w: [3, 5, 2, 2] })).toBe(
      "convTranspose2d 4x5x9x9",
    );
    const dilated: Attribute[] = [["dilations", [2, 2]]];
    expect(shape([["Conv", ["x", "w"], "y", dilated]], { w: [6, 3, 3, 3] })).toBe("conv2d 4x6x4x4");
    const oneSided: Attribute[] = [["pads", [0, 0, 1, 1]]];
    expect(shape([["Conv", ["x", "w"], "y", oneSided]], { w: [6, 3, 3, 3] })).toBe(
      "conv2d 4x6x7x7",
    );
    const pool: Attribute[] = [
      ["kernel_shape", [3, 3]],
      ["strides", [2, 2]],
    ];
    expect(shape([["MaxPool", ["x"], "y", pool]])).toBe("maxPool 4x3x3x3");
    const rounded: Attribute[] = [...pool, ["ceil_mode", 1]];
    expect(shape([["AveragePool", ["x"], "y", rounded]])).toBe("averagePool 4x3x4x4");
    expect(() => shape([["ConvTranspose", ["x", "w"], "y"]], { w: [4, 5, 2, 2] })).toThrow(
      /input of shape 4 x 3 x 8 x 8 and weight of 4 x 5 x 2 x 2/,
    );
  });

  test("arithmetic needs backward what its gradient needs, and no more", () => {
    const needs = (type: string, other: readonly number[] | null): string => {
      const graph = imported(
        model(
          [
            ["Conv", ["x", "w"], "c"],
            [type, other === null ? ["c", "c"] : ["c", "k"], "y"],
          ],
          { w: [6, 3, 1, 1], ...(other !== null && { k: other }) },
        ),
      );
      const costs = rooflineCosts("a100");
      const problem = lower(graph, { library: gpuLibrary, costs, optimizerState: 0 });
      const [choice] = problem.operators[1]?.backward ?? [];
      return `${graph.operators[1]?.operation.kind} ${choice?.needs.join(",")}`;
    };
    expect(needs("Sub", null)).toBe("add ");
    expect(needs("Mul", null)).toBe("multiply 0");
    // A trained factor for each channel, and a sum that is stretched.
    expect(needs("Mul", [6, 1, 1])).toBe("multiply 0");
    expect(needs("Add", [6, 1, 1])).toBe("add ");
    // One number that is not trained.
    expect(needs("Mul", [1])).toBe("activation ");
    expect(needs("Div", [1])).toBe("activation ");
    // Clamped between limits that are no ReLU's: backward looks at the output.
    expect(needs("Clip", [1])).toBe("activation 1");
    expect(() => needs("Pow", null)).toThrow(/exponent is not known/);
  });

  test("names what it cannot do", () => {
    const weights = { w: [8, 3, 3, 3] };
    const wrong: [Uint8Array, RegExp][] = [
      [model([["Conv", ["x", "missing"], "y"]]), /Conv "y" \(byte \d+\): reads "missing"/],
      [
        model([["Conv", ["x", "w"], "y"]], { w: [8, 5, 3, 3] }),
        /input of shape 4 x 3 x 8 x 8 and weight of 8 x 5 x 3 x 3/,
      ],
      [
        model(
          [
            ["Conv", ["x", "w"], "y"],
            ["Einsum", ["y"], "z"],
            ["Loop", ["z"], "q"],
          ],
          weights,
        ),
        /no rule for Einsum \(1\), Loop \(1\)/,
      ],
      [
        model([["Conv", ["x", "w"], "y"]], weights, undefined, "../../secret/weights.bin"),
        /external data at "..\/..\/secret\/weights.bin" is outside/,
      ],
      [model([["Conv", ["x", "w"], "y"]], weights, undefined, "/etc/passwd"), /outside/],
      [model([["Conv", ["x", "w"], "y"]], { w: [8, 3, 3, -3] }), /shape/],
      [model([["Relu", ["x"], "y"]], {}, [0, 3, 0, 8]), /dimension 2 \(batch\) is open/],
      [new Uint8Array([1, 2, 3]), /byte/],
      [new Uint8Array(), /no graph/],
      [sample.subarray(0, 900), /byte/],
    ];
    for (const [bytes, reason] of wrong) expect(() => imported(bytes)).toThrow(reason);
    expect(
      imported(model([["Conv", ["x", "w"], "y"]], weights, undefined, "data/weights.bin"))
        .operators,
    ).toHaveLength(2);
  });

  test("damaged files are refused, whatever the damage", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(sample.length - 1), fc.nat(255)), { minLength: 1, maxLength: 8 }),
        fc.option(fc.nat(sample.length - 1), { nil: undefined }),
        (changes, cut) => {
          const bytes = Uint8Array.from(sample);
          for (const [at, value] of changes) bytes[at] = value;
          try {
            imported(cut === undefined ? bytes : bytes.subarray(0, cut));
          } catch (error) {
            expect(error).toBeInstanceOf(MillraceError);
          }
        },
      ),
      { numRuns: 400 },
    );
  });
});

describe("traces", () => {
  const trace = {
    format: "millrace.training-trace/1",
    name: "net",
    batch: 2,
    type: "f32",
    device: "a device",
    inputs: [{ name: "x", dims: [2, 8], type: "f32" }],
    operators: [
      {
        name: "fc",
        kind: "linear",
        attributes: { bias: false, flatten: false },
        inputs: ["x"],
        dims: [2, 8],
        parameters: [{ name: "fc.weight", dims: [8, 8] }],
        forwardSeconds: 0.25,
        backwardSeconds: 0.5,
      },
      {
        name: "odd",
        kind: "MyKernel",
        inputs: ["fc"],
        dims: [2, 8],
        forwardSeconds: 1,
        backwardSeconds: 2,
      },
      { name: "loss", kind: "crossEntropy", inputs: ["odd"], dims: [1] },
    ],
  };

  test("are graphs with measured times; unknown operators are taken as they are", () => {
    const { graph, costs } = parseTrace(JSON.stringify(trace), "t.json");
    expect(graph.operators[1]?.operation).toEqual({ kind: "opaque", name: "MyKernel" });
    const measured = costs?.(rooflineCosts("cpu"));
    expect(measured?.name).toMatch(/measured by the trace on a device/);
    if (measured === undefined) return;
    const problem = lower(graph, { library: gpuLibrary, costs: measured, optimizerState: 0 });
    expect(problem.operators[0]?.forward[0]?.time).toBe(0.25);
    expect(problem.operators[1]?.backward[0]?.time).toBe(2);
    expect(problem.operators[1]?.backward[0]?.needs).toEqual([0, 1]);
  });

  test("that are damaged name the operator", () => {
    const wrong: [object, RegExp][] = [
      [{ ...trace, operators: [{ ...trace.operators[1] }] }, /operator 0 \(odd\) reads "fc"/],
      [{ ...trace, batch: 0 }, /batch/],
      [
        { ...trace, operators: [...trace.operators, trace.operators[2]] },
        /two things have the name/,
      ],
    ];
    for (const [value, reason] of wrong)
      expect(() => parseTrace(JSON.stringify(value), "t.json")).toThrow(reason);
    expect(() => parseTrace("{", "t.json")).toThrow(/not valid JSON/);
  });
});
