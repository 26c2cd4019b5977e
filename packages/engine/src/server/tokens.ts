/** POST /tokenize and /detokenize: vLLM's shapes (prompt, messages, count) and llama.cpp's (content, with_pieces). */
import { isUtf8 } from "node:buffer";
import { z } from "zod";
import { badRequest } from "./api-error.ts";
import { readJsonObject } from "./body.ts";
import { checkMessages, promptingFields } from "./chat-fields.ts";
import { chatPromptOf, toolWishOf } from "./chat-prompt.ts";
import { checkModel, checkReady, type Handler } from "./context.ts";
import { parseFields } from "./fields.ts";

const textFields = {
  model: z.string().max(1000).optional(),
  add_special_tokens: z.boolean().optional(),
  add_special: z.boolean().optional(),
  parse_special: z.boolean().default(true),
  with_pieces: z.boolean().default(false),
  return_token_strs: z.boolean().default(false),
} as const;
const promptShape = z.object({ ...textFields, prompt: z.string() });
const contentShape = z.object({ ...textFields, content: z.string() });
const messagesShape = z.object({ ...textFields, ...promptingFields });
const detokenizeShape = z.object({
  model: z.string().max(1000).optional(),
  tokens: z.array(
    z
      .int()
      .min(0)
      .max(2 ** 31 - 1),
  ),
});

interface Tokenized {
  readonly tokens: Int32Array;
  readonly withPieces: boolean;
  readonly withTexts: boolean;
}

/** Token ids of a text or of a chat, and what else is known of them. */
export const tokenize: Handler = async (exchange, context) => {
  checkReady(context);
  const body = await readJsonObject(exchange.incoming, context.options.maxBodyBytes);
  const take = <T extends { model?: string | undefined }>(parsed: {
    readonly fields: T;
    readonly ignored: readonly string[];
  }): T => {
    exchange.warnIgnored(parsed.ignored);
    checkModel(context, parsed.fields.model);
    return parsed.fields;
  };
  const text = async (
    content: string,
    fields: z.infer<z.ZodObject<typeof textFields>>,
    special: boolean,
  ): Promise<Tokenized> => ({
    tokens: await context.client.tokenize(content, {
      addSpecial: fields.add_special_tokens ?? fields.add_special ?? special,
      parseSpecial: fields.parse_special,
    }),
    withPieces: fields.with_pieces,
    withTexts: fields.return_token_strs,
  });
  const given = ["prompt", "messages", "content"].filter((name) => (body[name] ?? null) !== null);
  if (given.length !== 1)
    throw badRequest(
      "Give one of `prompt` (a text), `messages` (a chat) and `content` (a text, without special tokens).",
      given[1] ?? "prompt",
      given.length === 0 ? "missing_required_parameter" : "invalid_value",
    );
  let done: Tokenized;
  if (given[0] === "prompt") {
    const fields = take(parseFields(promptShape, body));
    done = await text(fields.prompt, fields, true);
  } else if (given[0] === "content") {
    const fields = take(parseFields(contentShape, body));
    done = await text(fields.content, fields, false);
  } else {
    const fields = take(parseFields(messagesShape, body));
    checkMessages(fields);
    const { tokens } = await chatPromptOf(context, fields, toolWishOf(fields));
    done = { tokens, withPieces: fields.with_pieces, withTexts: fields.return_token_strs };
  }
  const ids = Array.from(done.tokens);
  const pieces =
    done.withPieces || done.withTexts ? await context.pieces.of(ids) : ([] as Uint8Array[]);
  exchange.json(200, {
    count: ids.length,
    max_model_len: context.client.card.contextTokens,
    tokens: done.withPieces
      ? ids.map((id, i) => ({ id, piece: pieceOf(pieces[i] ?? new Uint8Array()) }))
      : ids,
    ...(done.withTexts
      ? { token_strs: ids.map((_, i) => Buffer.from(pieces[i] ?? []).toString()) }
      : {}),
  });
};

/** Text where the bytes are some, otherwise the bytes. */
function pieceOf(bytes: Uint8Array): string | number[] {
  return isUtf8(bytes) ? Buffer.from(bytes).toString() : [...bytes];
}

/** The text of token ids. */
export const detokenize: Handler = async (exchange, context) => {
  checkReady(context);
  const body = await readJsonObject(exchange.incoming, context.options.maxBodyBytes);
  const { fields, ignored } = parseFields(detokenizeShape, body);
  exchange.warnIgnored(ignored);
  checkModel(context, fields.model);
  const { vocabularySize } = context.client.card;
  const foreign = fields.tokens.find((token) => token >= vocabularySize);
  if (foreign !== undefined)
    throw badRequest(
      `Token ${foreign} is not in the vocabulary of ${vocabularySize}.`,
      "tokens",
      "invalid_value",
    );
  const text = await context.client.detokenize(Int32Array.from(fields.tokens));
  // vLLM calls it prompt, llama.cpp content.
  exchange.json(200, { prompt: text, content: text });
};
