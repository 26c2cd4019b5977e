import fc from "fast-check";
import { expect, test } from "vitest";
import { z } from "zod";
import { formatPlace, MillraceError } from "../errors.ts";
import {
  bytesField,
  formatPath,
  parseConfig,
  parsePath,
  secondsField,
  toJsonSchema,
} from "./index.ts";

const schema = z.strictObject({
  model: z.string(),
  replicas: z.number().int().min(1).default(1),
  scheduler: z
    .discriminatedUnion("type", [
      z.strictObject({
        type: z.literal("orca"),
        batchSizeCap: z.number().int().min(1).default(128),
      }),
      z.strictObject({
        type: z.enum(["sarathi", "sarathi-serve"]),
        chunkSize: z.number().int().min(1).max(65_536),
      }),
    ])
    .optional(),
  kv: z
    .strictObject({
      pageBytes: bytesField.optional(),
      blocks: z.union([z.number().int(), z.literal("auto")]).optional(),
    })
    .optional(),
  slo: z.strictObject({ ttft: secondsField.optional() }).optional(),
  precision: z.enum(["fp16", "int8"]).optional(),
  devices: z.array(z.strictObject({ name: z.string(), price: z.number().positive() })).optional(),
  load: z
    .union([
      z.strictObject({ qps: z.number().positive() }),
      z.strictObject({ trace: z.string(), limit: z.number().optional() }),
    ])
    .optional(),
  labels: z.record(z.string(), z.string()).optional(),
  ratio: z
    .number()
    .refine((x) => x !== 13, "must not be 13")
    .optional(),
});

function failure(text: string, set: readonly string[] = [], file = "run.yaml"): string {
  try {
    parseConfig(text, { file, schema, set });
  } catch (error) {
    if (!(error instanceof MillraceError)) throw error;
    const place = error.at === undefined ? "nowhere" : formatPlace(error.at);
    return `${error.code} ${place} ${error.message}${error.hint === undefined ? "" : ` | ${error.hint}`}`;
  }
  return expect.unreachable(`accepted: ${text}`);
}

test("valid configurations, with overrides and units", () => {
  const text = "model: m\nscheduler: {type: sarathi, chunkSize: 512}\nkv:\n  pageBytes: 2MiB\n";
  expect(parseConfig(text, { file: "a", schema })).toEqual({
    model: "m",
    replicas: 1,
    scheduler: { type: "sarathi", chunkSize: 512 },
    kv: { pageBytes: 2 ** 21 },
  });
  const set = [
    "scheduler.chunkSize=64",
    "kv.blocks=auto",
    "devices[0].name=x",
    "devices.0.price=1e2",
    "labels={a: b}",
    "model= n ",
    "slo.ttft=50ms",
  ];
  expect(parseConfig(text, { file: "a", schema, set })).toMatchObject({
    model: "n",
    scheduler: { chunkSize: 64 },
    kv: { pageBytes: 2 ** 21, blocks: "auto" },
    devices: [{ name: "x", price: 100 }],
    labels: { a: "b" },
    slo: { ttft: 0.05 },
  });
  expect(parseConfig("", { file: "a", schema, set: ["model=x"] }).model).toBe("x");
  expect(parseConfig('\ufeff{"model":\t"x"}', { file: "a.json", schema }).model).toBe("x");
  expect(
    parseConfig("a: &a x\nb: *a\n", { file: "a", schema: z.record(z.string(), z.string()) }),
  ).toEqual({ a: "x", b: "x" });
});

test.each([
  [
    "model: m\nscheduler:\n  type: sarathi\n  chunkSize: abc\n",
    'CONFIG_INVALID run.yaml:4:14 scheduler.chunkSize: expected a whole number >= 1 and <= 65536, got "abc"',
  ],
  ["modle: m\n", 'CONFIG_INVALID run.yaml:1:1 modle: unknown key | did you mean "model"?'],
  [
    "model: m\nchunkSize: 5\nscheduler: {type: sarathi, chunkSize: 1}\n",
    "CONFIG_INVALID run.yaml:2:1 chunkSize: unknown key | the key is known as scheduler.chunkSize",
  ],
  ["", "CONFIG_INVALID run.yaml:1:1 model: missing; expected text"],
  ["# nothing\n", "CONFIG_INVALID run.yaml:1:1 model: missing; expected text"],
  [
    "model: m\nscheduler:\n  type: sarathy\n",
    'CONFIG_INVALID run.yaml:3:9 scheduler.type: expected one of "orca", "sarathi", "sarathi-serve", got "sarathy" | did you mean "sarathi"?',
  ],
  [
    "model: m\nscheduler:\n  chunkSize: 4\n",
    'CONFIG_INVALID run.yaml:2:1 scheduler.type: missing; expected one of "orca", "sarathi", "sarathi-serve"',
  ],
  [
    "model: m\nscheduler: {type: orca, batchSizecap: 4}\n",
    'CONFIG_INVALID run.yaml:2:25 scheduler.batchSizecap: unknown key | did you mean "batchSizeCap"?',
  ],
  [
    "model: m\nscheduler: 4\n",
    "CONFIG_INVALID run.yaml:2:12 scheduler: expected a mapping of keys to values, got 4",
  ],
  [
    "model: m\nkv:\n  pageBytes: 2 parsecs\n",
    'CONFIG_INVALID run.yaml:3:14 kv.pageBytes: expected a size such as 512MiB or 5GB, got "2 parsecs"',
  ],
  [
    "model: m\nkv:\n  pageBytes: [1]\n",
    "CONFIG_INVALID run.yaml:3:14 kv.pageBytes: expected a size such as 512MiB or 5GB, got a list of 1",
  ],
  [
    "model: m\nkv: {blocks: many}\n",
    'CONFIG_INVALID run.yaml:2:14 kv.blocks: expected a whole number or "auto", got "many"',
  ],
  [
    "model: m\nprecision: fp61\n",
    'CONFIG_INVALID run.yaml:2:12 precision: expected one of "fp16", "int8", got "fp61" | did you mean "fp16"?',
  ],
  [
    "model: m\ndevices:\n  - name: a\n    price: 1\n  - name: b\n    price: -1\n",
    "CONFIG_INVALID run.yaml:6:12 devices[1].price: expected a number > 0, got -1",
  ],
  [
    "model: m\nload:\n  trace: t\n  limit: x\n",
    'CONFIG_INVALID run.yaml:4:10 load.limit: expected a number, got "x"',
  ],
  [
    "model: m\nload: 3\n",
    "CONFIG_INVALID run.yaml:2:7 load: expected a mapping of keys to values, got 3",
  ],
  [
    "model:\nreplicas: 0\nratio: 13",
    "CONFIG_INVALID run.yaml:1:7 model: expected text, got nothing (and 2 more problems)",
  ],
  ["model: m\nratio: 13", "CONFIG_INVALID run.yaml:2:8 ratio: must not be 13, got 13"],
  [
    "- 1",
    "CONFIG_INVALID run.yaml:1:1 the configuration: expected a mapping of keys to values, got a list of 1",
  ],
  ["model: a\nmodel: b\n", "CONFIG_SYNTAX run.yaml:2:1 a second value for the key model"],
  [
    "model: m\n\treplicas: 1\n",
    "CONFIG_SYNTAX run.yaml:2:1 tabs are not allowed as indentation | indent with spaces",
  ],
  [
    "model: *m\n",
    "CONFIG_SYNTAX run.yaml:1:8 no anchor is named m | quote a value that begins with *",
  ],
  [
    "model: !foo m\n",
    "CONFIG_SYNTAX run.yaml:1:8 unresolved tag: !foo | tags and directives are not used here; remove them",
  ],
  ["labels: &a\n  a: *a\n", "CONFIG_SYNTAX run.yaml:2:6 the alias *a contains itself"],
  ["? [a]\n: b\n", "CONFIG_SYNTAX run.yaml:1:3 a key must be a plain name"],
  ["model: m\n--- \nmodel: n\n", /^CONFIG_SYNTAX run\.yaml:2:1 .*multiple documents/],
  ['model: "m\n', /^CONFIG_SYNTAX run\.yaml:2:1 missing closing/],
  ["__proto__: {model: m}\nmodel: m", /^CONFIG_INVALID run\.yaml:1:1 __proto__: unknown key/],
])("%j", (text, expected) => {
  if (typeof expected === "string") expect(failure(text)).toBe(expected);
  else expect(failure(text)).toMatch(expected);
});

test("problems of --set name the flag", () => {
  expect(failure("model: m", ["scheduler.type=sarathi", "scheduler.chunkSize=abc"])).toBe(
    'CONFIG_INVALID --set scheduler.chunkSize=abc scheduler.chunkSize: expected a whole number >= 1 and <= 65536, got "abc"',
  );
  expect(failure("model: m", ["scheduler.type=sarathi"])).toMatch(
    /^CONFIG_INVALID --set scheduler.type=sarathi scheduler.chunkSize: missing/,
  );
  expect(failure("model: m", ["replica=2"])).toBe(
    'CONFIG_INVALID --set replica=2 replica: unknown key | did you mean "replicas"?',
  );
  expect(failure("model: m", ["replicas"])).toMatch(
    /^CONFIG_INVALID --set replicas expected path=value/,
  );
  expect(failure("model: m", ["model.x=1"])).toBe(
    'CONFIG_INVALID --set model.x=1 model: "m" has no keys',
  );
  expect(failure("model: m", ["model=[1"])).toMatch(/^CONFIG_SYNTAX --set model=\[1 model: /);
  expect(failure("model: m\ndevices: []", ["devices[2].name=a"])).toMatch(
    /a list of 0 has no entry 2/,
  );
  expect(failure("model: 5", ["replicas=0"])).toMatch(
    /^CONFIG_INVALID run.yaml:1:8 .*and 1 more problem\)$/,
  );
});

test("JSON is strict and has places", () => {
  expect(failure('{\n  "model": "m",\n}', [], "a.json")).toMatch(
    /^CONFIG_SYNTAX a\.json:3:1 not valid JSON: "}"/,
  );
  expect(failure('{"model": "m"', [], "a.json")).toMatch(
    /^CONFIG_SYNTAX a\.json:1:14 .*the end of the file/,
  );
  expect(failure('{"model": "m",\n\t"replicas": "x"}', [], "a.json")).toMatch(
    /^CONFIG_INVALID a\.json:2:14 replicas: expected/,
  );
  expect(failure('{"model": "m", "model": "n"}', [], "a.json")).toMatch(
    /^CONFIG_SYNTAX a\.json:1:16 a second value for the key "model"/,
  );
});

test("alias bombs and deep nesting are refused quickly", () => {
  const names = "abcdefghij";
  const bomb = ["a: &a [x, x, x, x, x, x, x, x, x, x]"];
  for (let i = 1; i < names.length; i++)
    bomb.push(`${names[i]}: &${names[i]} [${new Array(10).fill(`*${names[i - 1]}`).join(", ")}]`);
  expect(failure(bomb.join("\n"))).toMatch(/^CONFIG_SYNTAX .*aliases expand to too many/);
  for (const deep of ["[", "{a: ", "- ", "? ", "a: ", "&a ["])
    expect(failure(deep.repeat(30_000))).toMatch(/^CONFIG_SYNTAX/);
  const steps = Array.from({ length: 5000 }, (_, i) => `${" ".repeat(i)}a:`).join("\n");
  expect(failure(steps)).toMatch(/nested deeper/);
  expect(failure("[".repeat(30_000), [], "a.json")).toMatch(/^CONFIG_SYNTAX/);
});

test("whatever the text and the flags, nothing but a MillraceError is thrown", () => {
  const seeds = [
    "model: m\nscheduler:\n  type: sarathi\n  chunkSize: 512\nkv:\n  pageBytes: 2MiB\n",
    "model: &a m\ndevices:\n  - {name: *a, price: 2}\n  - name: 'x'\n    price: 1e3\nload:\n  trace: |\n    t\n",
    '{"model": "m", "load": {"qps": 3}, "labels": {"a": "b"}}',
  ];
  const piece = fc.constantFrom(
    ..."\n\t :-?[]{},&*#!|>'\"%@`~a0.",
    "  ",
    "<<",
    "---",
    "__proto__",
    "*a",
    "&a ",
    "null",
    ".nan",
    "\ufeff",
    "\r\n",
    "\0",
  );
  const text = fc.oneof(
    fc.string(),
    fc.array(piece, { maxLength: 40 }).map((parts) => parts.join("")),
    fc
      .tuple(
        fc.constantFrom(...seeds),
        fc.array(fc.tuple(fc.nat(200), fc.nat(8), piece), { maxLength: 4 }),
      )
      .map(([seed, edits]) =>
        edits.reduce(
          (t, [at, drop, put]) =>
            t.slice(0, at % t.length) + put + t.slice((at % t.length) + drop) || " ",
          seed,
        ),
      ),
  );
  const flag = fc.oneof(
    fc.string(),
    fc
      .tuple(
        fc.constantFrom(
          "model",
          "scheduler",
          "kv.blocks",
          "devices[0]",
          "__proto__.x",
          "load.0",
          "constructor.name",
        ),
        fc.string(),
      )
      .map(([p, v]) => `${p}=${v}`),
  );
  fc.assert(
    fc.property(
      text,
      fc.array(flag, { maxLength: 2 }),
      fc.constantFrom("a.yaml", "a.json"),
      (t, set, file) => {
        try {
          parseConfig(t, { file, schema, set });
        } catch (error) {
          if (!(error instanceof MillraceError)) throw error;
          expect(error.code).toMatch(/^CONFIG_/);
          expect(error.at).toBeDefined();
        }
      },
    ),
    { numRuns: 1500 },
  );
  expect(({} as Record<string, unknown>).x).toBeUndefined();
});

test("paths are written and read back", () => {
  const key = fc.oneof(fc.string({ minLength: 1 }), fc.nat(99));
  fc.assert(
    fc.property(fc.array(key, { minLength: 1, maxLength: 5 }), (path) => {
      expect(parsePath(formatPath(path))).toEqual(path);
    }),
  );
  for (const text of ["", "a.", ".a", "a..b", "a[x]", "a[", '"a'])
    expect(parsePath(text)).toBeNull();
});

test("the JSON schema is that of the written form", () => {
  const json = toJsonSchema(schema, "https://example.test/run.json", "Run");
  expect(json).toMatchObject({
    $id: "https://example.test/run.json",
    title: "Run",
    type: "object",
    required: ["model"],
  });
  expect(JSON.stringify(json)).toContain('"pageBytes":{"type":["number","string"]}');
});
