/** POST /v1/embeddings. */
import { z } from "zod";
import { badRequest } from "./api-error.ts";
import { readJsonObject } from "./body.ts";
import { checkModel, checkReady, type Handler } from "./context.ts";
import { parseFields, promptField, promptsOf } from "./fields.ts";
import { tokenizePrompts } from "./prompts.ts";

const shape = z.object({
  model: z.string().max(1000).optional(),
  input: promptField,
  encoding_format: z.enum(["float", "base64"]).default("float"),
  dimensions: z.int().min(1).optional(),
  user: z.unknown().optional(),
});

function base64(vector: Float32Array): string {
  const bytes = Buffer.alloc(vector.length * 4);
  vector.forEach((value, i) => {
    bytes.writeFloatLE(value, i * 4);
  });
  return bytes.toString("base64");
}

/** Pooled embeddings of texts or token arrays. A client that leaves cancels the computation. */
export const embeddings: Handler = async (exchange, context) => {
  checkReady(context);
  const { client, options, admission } = context;
  const body = await readJsonObject(exchange.incoming, options.maxBodyBytes);
  const { fields, ignored } = parseFields(shape, body);
  exchange.warnIgnored(ignored);
  checkModel(context, fields.model);
  if (!client.card.embeddings)
    throw badRequest(
      `The model ${client.card.name} gives no embeddings; serve one with pooled outputs, such as a BERT-like encoder.`,
      "model",
      "embeddings_unsupported",
    );
  if (fields.dimensions !== undefined)
    throw badRequest(
      "`dimensions` is not supported: the file does not say that its embeddings may be cut short.",
      "dimensions",
      "unsupported_parameter",
    );
  const prompts = promptsOf(fields.input);
  if (prompts.length > options.maxInFlight)
    throw badRequest(
      `${prompts.length} inputs are more than ${options.maxInFlight}.`,
      "input",
      "invalid_value",
    );
  admission.check(prompts.length);
  const inputs = await tokenizePrompts(client, prompts);
  for (const [i, tokens] of inputs.entries()) {
    const { contextTokens, vocabularySize } = client.card;
    if (tokens.length === 0)
      throw badRequest(`Input ${i} is empty: it has no tokens.`, "input", "invalid_value");
    if (tokens.length > contextTokens)
      throw badRequest(
        `Input ${i} has ${tokens.length} tokens, of at most ${contextTokens}.`,
        "input",
        "context_length_exceeded",
      );
    const foreign = tokens.find((token) => token >= vocabularySize);
    if (foreign !== undefined)
      throw badRequest(
        `Token ${foreign} is not in the vocabulary of ${vocabularySize}.`,
        "input",
        "invalid_value",
      );
  }
  if (exchange.signal.aborted) return;
  const place = admission.enter(inputs.length, 0);
  try {
    const vectors = await client.embed(inputs, exchange.signal);
    const tokens = inputs.reduce((sum, input) => sum + input.length, 0);
    exchange.json(200, {
      object: "list",
      data: vectors.map((vector, index) => ({
        object: "embedding",
        index,
        embedding: fields.encoding_format === "base64" ? base64(vector) : Array.from(vector),
      })),
      model: client.card.name,
      usage: { prompt_tokens: tokens, total_tokens: tokens },
    });
  } catch (thrown) {
    if (!exchange.signal.aborted) throw thrown;
  } finally {
    place.leave();
  }
};
