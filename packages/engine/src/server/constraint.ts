/** What the answer must look like: every field that asks for a form, as one grammar. */

import { MillraceError } from "@millrace/core";
import { z } from "zod";
import {
  choiceGrammar,
  jsonObjectGrammar,
  jsonSchemaToGbnf,
  patternGrammar,
} from "../grammar/index.ts";
import { badRequest } from "./api-error.ts";
import type { Exchange } from "./exchange.ts";
import { deeperThan, deepestNesting } from "./json-place.ts";

const grammarText = z.string().min(1).max(1_000_000);
const choiceTexts = z.array(z.string().min(1)).min(1).max(10_000);
const schemaValue = z.union([z.string(), z.boolean(), z.record(z.string(), z.unknown())]);

/** Fields that ask for a form, in OpenAI's, vLLM's and llama.cpp's words. */
export const constraintFields = {
  response_format: z
    .looseObject({
      type: z.enum(["text", "json_object", "json_schema"]),
      json_schema: z
        .looseObject({
          name: z.string().optional(),
          schema: z.unknown().optional(),
          strict: z.boolean().nullish(),
        })
        .optional(),
      schema: z.unknown().optional(),
    })
    .optional(),
  grammar: grammarText.optional(),
  json_schema: schemaValue.optional(),
  guided_json: schemaValue.optional(),
  guided_regex: z.string().min(1).max(100_000).optional(),
  guided_choice: choiceTexts.optional(),
  guided_grammar: grammarText.optional(),
  structured_outputs: z
    .looseObject({
      json: schemaValue.nullish(),
      json_object: z.boolean().nullish(),
      regex: z.string().min(1).max(100_000).nullish(),
      choice: choiceTexts.nullish(),
      grammar: grammarText.nullish(),
    })
    .optional(),
} as const;

const shape = z.object(constraintFields);
/** The fields after parsing. */
export type ConstraintFields = z.infer<typeof shape>;

/** A grammar and the field it comes from. */
export interface Constraint {
  readonly grammar: string;
  readonly param: string;
  /** The client wrote the grammar itself; it is taken as it is. */
  readonly own: boolean;
}

/** Characters of a schema; its conversion takes the time of the server itself. */
const longestSchema = 300_000;

function schemaOf(given: unknown, param: string): unknown {
  const length = typeof given === "string" ? given.length : JSON.stringify(given).length;
  if (length > longestSchema)
    throw badRequest(
      `\`${param}\` has ${length} characters, of at most ${longestSchema}.`,
      param,
      "invalid_value",
    );
  if (typeof given !== "string") return given;
  let schema: unknown;
  try {
    schema = JSON.parse(given);
  } catch {
    throw badRequest(`\`${param}\` is a text that is not JSON.`, param, "invalid_value");
  }
  if (deeperThan(schema, deepestNesting))
    throw badRequest(`\`${param}\` nests too deeply.`, param, "invalid_value");
  return schema;
}

function responseFormat(
  format: NonNullable<ConstraintFields["response_format"]>,
  exchange: Exchange,
): string | null {
  switch (format.type) {
    case "text":
      return null;
    case "json_object":
      return format.schema === undefined || format.schema === null
        ? jsonObjectGrammar()
        : jsonSchemaToGbnf(schemaOf(format.schema, "response_format.schema"));
    case "json_schema": {
      const given = format.json_schema;
      const schema = given?.schema ?? format.schema;
      if (schema === undefined || schema === null)
        throw badRequest(
          "`response_format.json_schema.schema` is missing.",
          "response_format.json_schema.schema",
          "missing_required_parameter",
        );
      try {
        return jsonSchemaToGbnf(schemaOf(schema, "response_format.json_schema.schema"));
      } catch (thrown) {
        const loose = given?.strict === false && thrown instanceof MillraceError;
        if (!loose) throw thrown;
        exchange.warn(`schema not enforced, any JSON object is taken: ${thrown.message}`);
        return jsonObjectGrammar();
      }
    }
  }
}

/** The one constraint of a request, or null. Throws 400 for several, and for one that cannot be kept, naming the field. */
export function constraintOf(fields: ConstraintFields, exchange: Exchange): Constraint | null {
  const outputs = fields.structured_outputs ?? {};
  const schema = (param: string) => (given: unknown) => jsonSchemaToGbnf(schemaOf(given, param));
  const sources = [
    source("grammar", fields.grammar, (text) => text, true),
    source("guided_grammar", fields.guided_grammar, (text) => text, true),
    source("structured_outputs.grammar", outputs.grammar, (text) => text, true),
    source("json_schema", fields.json_schema, schema("json_schema")),
    source("guided_json", fields.guided_json, schema("guided_json")),
    source("structured_outputs.json", outputs.json, schema("structured_outputs.json")),
    source("structured_outputs.json_object", outputs.json_object || null, jsonObjectGrammar),
    source("guided_regex", fields.guided_regex, patternGrammar),
    source("structured_outputs.regex", outputs.regex, patternGrammar),
    source("guided_choice", fields.guided_choice, choiceGrammar),
    source("structured_outputs.choice", outputs.choice, choiceGrammar),
    source("response_format", fields.response_format, (format) => responseFormat(format, exchange)),
  ];
  const found: Constraint[] = [];
  for (const { param, make, own } of sources) {
    const grammar = namingErrors(param, make);
    if (grammar !== null) found.push({ grammar, param, own });
  }
  const [first, second] = found;
  if (first !== undefined && second !== undefined)
    throw badRequest(
      `\`${first.param}\` and \`${second.param}\` both say what the answer must look like; give one.`,
      second.param,
      "invalid_value",
    );
  return first ?? null;
}

interface Source {
  readonly param: string;
  readonly own: boolean;
  /** Null where the field is absent, or asks for nothing. */
  readonly make: () => string | null;
}

function source<T>(
  param: string,
  value: T | null | undefined,
  make: (value: T) => string | null,
  own = false,
): Source {
  const absent = value === undefined || value === null;
  return { param, own, make: () => (absent ? null : make(value)) };
}

/** What `make` gives; what it throws names the field. */
export function namingErrors<T>(param: string, make: () => T): T {
  try {
    return make();
  } catch (thrown) {
    if (!(thrown instanceof MillraceError)) throw thrown;
    const hint = thrown.hint === undefined ? "" : ` (${thrown.hint})`;
    throw badRequest(`\`${param}\`: ${thrown.message}${hint}.`, param, thrown.code.toLowerCase());
  }
}
