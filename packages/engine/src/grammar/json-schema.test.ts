import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { GbnfAcceptor } from "./gbnf-acceptor.conformance.ts";
import { jsonObjectGrammar, jsonSchemaToGbnf, toolCallGrammar } from "./index.ts";

/** The given texts of JSON that the schema's grammar accepts. */
function accepted(schema: unknown, texts: readonly string[]): string[] {
  const acceptor = new GbnfAcceptor(jsonSchemaToGbnf(schema));
  return texts.filter((t) => acceptor.accepts(t));
}

/** A schema together with values that conform to it. */
type Pair = { readonly schema: unknown; readonly value: fc.Arbitrary<unknown> };

const leaf: fc.Arbitrary<Pair> = fc.oneof(
  fc.constant<Pair>({ schema: { type: "boolean" }, value: fc.boolean() }),
  fc.constant<Pair>({ schema: { type: "null" }, value: fc.constant(null) }),
  fc.constant<Pair>({
    schema: { type: "number" },
    value: fc.double({ noNaN: true, noDefaultInfinity: true }),
  }),
  fc.constant<Pair>({ schema: {}, value: fc.jsonValue({ maxDepth: 2 }) }),
  fc.tuple(fc.integer(), fc.nat(100_000)).map(
    ([low, more]): Pair => ({
      schema: { type: "integer", minimum: low, maximum: low + more },
      value: fc.integer({ min: low, max: low + more }),
    }),
  ),
  fc.tuple(fc.nat(5), fc.nat(5)).map(
    ([low, more]): Pair => ({
      schema: { type: "string", minLength: low, maxLength: low + more },
      value: fc
        .array(fc.string({ unit: "grapheme", minLength: 1, maxLength: 1 }), {
          minLength: low,
          maxLength: low + more,
        })
        .map((c) => c.join(""))
        .filter((s) => [...s].length >= low && [...s].length <= low + more),
    }),
  ),
  fc
    .array(fc.jsonValue({ maxDepth: 1 }), { minLength: 1, maxLength: 4 })
    .map((values): Pair => ({ schema: { enum: values }, value: fc.constantFrom(...values) })),
  fc.constant<Pair>({
    schema: { type: "string", pattern: '^[a-c"\\\\]{1,3}(-\\d+)?$' },
    value: fc.stringMatching(/^[a-c"\\]{1,3}(-\d+)?$/),
  }),
);

const pairs: fc.Arbitrary<Pair> = fc.letrec<{ pair: Pair }>((tie) => ({
  pair: fc.oneof(
    { maxDepth: 2, withCrossShrink: true },
    leaf,
    fc.tuple(tie("pair"), fc.nat(2), fc.nat(3)).map(
      ([item, low, more]): Pair => ({
        schema: { type: "array", items: item.schema, minItems: low, maxItems: low + more },
        value: fc.array(item.value, { minLength: low, maxLength: low + more }),
      }),
    ),
    fc
      .tuple(
        fc.dictionary(fc.string({ maxLength: 4 }), fc.tuple(tie("pair"), fc.boolean()), {
          maxKeys: 4,
        }),
      )
      .map(([entries]): Pair => {
        const keys = Object.keys(entries);
        return {
          schema: {
            type: "object",
            properties: Object.fromEntries(keys.map((k) => [k, entries[k][0].schema])),
            required: keys.filter((k) => entries[k][1]),
            additionalProperties: false,
          },
          value: fc
            .record(Object.fromEntries(keys.map((k) => [k, entries[k][0].value])), {
              requiredKeys: keys.filter((k) => entries[k][1]),
            })
            .map((o) =>
              Object.fromEntries(keys.filter((k) => Object.hasOwn(o, k)).map((k) => [k, o[k]])),
            ),
        };
      }),
    fc.tuple(tie("pair"), tie("pair")).map(
      ([a, b]): Pair => ({
        schema: { anyOf: [a.schema, b.schema] },
        value: fc.oneof(a.value, b.value),
      }),
    ),
  ),
})).pair;

describe("jsonSchemaToGbnf", () => {
  it("accepts every conforming value of random schemas, compact and indented", () => {
    const cases = pairs.chain((p) => p.value.map((value) => ({ schema: p.schema, value })));
    fc.assert(
      fc.property(cases, ({ schema, value }) => {
        const texts = [JSON.stringify(value), JSON.stringify(value, null, 2)];
        expect(accepted(schema, texts)).toEqual(texts);
      }),
      { numRuns: 250, seed: 3 },
    );
  });

  it("accepts the whole numbers of a range and no others", () => {
    fc.assert(
      fc.property(fc.integer({ min: -250, max: 250 }), fc.nat(300), (low, more) => {
        const high = low + more;
        const all = Array.from({ length: 1001 }, (_, i) => `${i - 500}`);
        const schema = { type: "integer", minimum: low, exclusiveMaximum: high + 1 };
        expect(accepted(schema, all)).toEqual(all.filter((x) => +x >= low && +x <= high));
      }),
      { numRuns: 60, seed: 4 },
    );
  });

  it("accepts the decimals of a range and no others", () => {
    const tenths = fc.integer({ min: -300, max: 300 }).map((n) => n / 20);
    fc.assert(
      fc.property(tenths, tenths, fc.boolean(), fc.boolean(), (a, b, openLow, openHigh) => {
        const low = Math.min(a, b);
        const high = Math.max(a, b) + 1;
        const all = Array.from({ length: 800 }, (_, i) => `${(i - 400) / 25}`);
        const schema = {
          type: "number",
          [openLow ? "exclusiveMinimum" : "minimum"]: low,
          [openHigh ? "exclusiveMaximum" : "maximum"]: high,
        };
        const fits = (x: number): boolean =>
          (openLow ? x > low : x >= low) && (openHigh ? x < high : x <= high);
        expect(accepted(schema, all)).toEqual(all.filter((x) => fits(+x)));
      }),
      { numRuns: 60, seed: 5 },
    );
  });

  it("follows references, also to itself", () => {
    const schema = {
      $ref: "#/$defs/node",
      $defs: {
        node: {
          type: "object",
          properties: {
            v: { type: "integer" },
            next: { anyOf: [{ $ref: "#/$defs/node" }, { type: "null" }] },
          },
          required: ["v", "next"],
        },
      },
    };
    const good = '{"v":1,"next":{"v":2,"next":null}}';
    expect(accepted(schema, [good, '{"v":1}', '{"v":1,"next":{}}'])).toEqual([good]);
  });

  it("keeps further members apart from the listed ones", () => {
    const schema = {
      properties: { ab: { type: "integer" } },
      additionalProperties: { type: "string" },
    };
    const texts = [
      '{"ab":1}',
      '{"ab":1,"abc":"x","b":"y"}',
      '{"a":"x"}',
      '{"":"x"}',
      '{"ab":"x"}',
      '{"c":1}',
      "{}",
    ];
    expect(accepted(schema, texts)).toEqual([texts[0], texts[1], texts[2], texts[3], texts[6]]);
  });

  it("knows tuples, formats and patterns", () => {
    const tuple = {
      prefixItems: [{ type: "integer" }, { type: "string" }],
      items: false,
      minItems: 1,
    };
    expect(accepted(tuple, ["[1]", '[1,"a"]', "[]", '[1,"a",2]', '["a"]'])).toEqual([
      "[1]",
      '[1,"a"]',
    ]);
    const formats: [string, string, string][] = [
      ["date", "2024-02-29", "2024-13-01"],
      ["date-time", "2024-02-29T12:00:00.5Z", "2024-02-29 12:00:00Z"],
      ["uuid", "123e4567-e89b-12d3-a456-426614174000", "123e4567e89b12d3a456426614174000"],
      ["ipv4", "192.168.0.1", "256.1.1.1"],
      ["email", "a.b@example.org", "a@b"],
      ["uri", "https://example.org/?q=1", "no uri"],
    ];
    for (const [format, good, bad] of formats)
      expect(accepted({ type: "string", format }, [`"${good}"`, `"${bad}"`])).toEqual([
        `"${good}"`,
      ]);
    expect(accepted({ pattern: "b+" }, ['"abc"', '"b"', '"ac"'])).toEqual(['"abc"', '"b"']);
  });

  it.each([
    [{ properties: { a: { not: {} } } }, /at \/properties\/a\/not: the keyword "not"/],
    [{ type: "strin" }, /at \/type: "strin" is not a type/],
    [{ $ref: "#/$defs/x" }, /points at nothing/],
    [{ $ref: "http://x/y" }, /does not point into this schema/],
    [{ $ref: "#" }, /refers to itself/],
    [{ $defs: { a: { anyOf: [{ $ref: "#/$defs/a" }] } }, $ref: "#/$defs/a" }, /refers to itself/],
    [{ type: "string", pattern: "(?=a)" }, /look-ahead/],
    [{ type: "string", pattern: "a(b" }, /not closed/],
    [{ type: "string", format: "color" }, /"color" is not known/],
    [{ type: "array", uniqueItems: true }, /uniqueItems/],
    [{ type: "string", maxLength: 100_000 }, /above 2000/],
    [{ type: "integer", minimum: 3, maximum: 2 }, /no number/],
    [{ type: "array", minItems: 3, maxItems: 2 }, /below minItems/],
    [{ required: ["a"], properties: {}, additionalProperties: false }, /required but not allowed/],
    [{ enum: [] }, /at least one value/],
    [[], /not a schema/],
    [false, /nothing conforms/],
  ])("refuses %j by path", (schema, message) => {
    expect(() => jsonSchemaToGbnf(schema)).toThrow(message);
  });

  it("survives schemas of any shape", () => {
    fc.assert(
      fc.property(fc.jsonValue(), (schema) => {
        try {
          new GbnfAcceptor(jsonSchemaToGbnf(schema));
        } catch (error) {
          expect(error).toMatchObject({ code: "SCHEMA_UNSUPPORTED" });
        }
      }),
      { numRuns: 300, seed: 6 },
    );
  });
});

describe("other grammars", () => {
  it("accepts objects alone for json_object", () => {
    const acceptor = new GbnfAcceptor(jsonObjectGrammar());
    expect(acceptor.accepts('{"a": [1, {"b": null}]}')).toBe(true);
    expect(acceptor.accepts("[1]")).toBe(false);
    expect(acceptor.accepts('{"a": "\\ud83d"}')).toBe(false);
  });

  it("accepts tool calls with their arguments", () => {
    const tools = [
      {
        name: "add",
        parameters: { type: "object", properties: { n: { type: "integer" } }, required: ["n"] },
      },
      { name: "now" },
    ];
    const add = '<tool_call>\n{"name": "add", "arguments": {"n": 1}}\n</tool_call>';
    const now = '<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>';
    const required = new GbnfAcceptor(toolCallGrammar(tools, "required", true));
    expect(required.accepts(add)).toBe(true);
    expect(required.accepts(`${add}\n${now}`)).toBe(true);
    expect(required.accepts("hello")).toBe(false);
    const auto = new GbnfAcceptor(toolCallGrammar(tools, "auto", false));
    expect(auto.accepts("hello {}")).toBe(true);
    expect(auto.accepts(add)).toBe(true);
    expect(auto.accepts(add.replace('"n": 1', '"n": "1"'))).toBe(false);
    const named = new GbnfAcceptor(toolCallGrammar(tools, { name: "now" }, false));
    expect(named.accepts(add)).toBe(false);
    expect(() => toolCallGrammar(tools, { name: "x" }, false)).toThrow(/not among the tools/);
  });
});
