/** `millrace generate`: one prompt continued in the terminal, streamed. */

import { randomInt } from "node:crypto";
import { text as wholeStream } from "node:stream/consumers";
import { type ErrorCode, formatNumber, formatSeconds, MillraceError } from "@millrace/core";
import { readTextFile } from "@millrace/core/node";
import {
  checkGrammarSyntax,
  defaultSampling,
  type GenerateRequest,
  jsonSchemaToGbnf,
} from "@millrace/engine";
import { ChatTemplate } from "@millrace/engine/chat";
import type { SupervisedEngine } from "@millrace/engine/process";
import { type OpenedConfig, readServeConfig } from "../engine/serve-config.ts";
import { startWithProgress } from "../engine/start.ts";
import type { Session } from "../session.ts";

interface GenerateFlags {
  readonly maxTokens?: number;
  readonly temperature?: number;
  readonly topK?: number;
  readonly topP?: number;
  readonly minP?: number;
  readonly seed?: number;
  readonly stop?: readonly string[];
  readonly chat?: boolean;
  readonly grammar?: string;
  readonly jsonSchema?: string;
  readonly ignoreEos?: boolean;
}

export async function generateCommand(
  session: Session,
  given: string | undefined,
  all: Readonly<Record<string, unknown>>,
): Promise<number> {
  const flags = all as GenerateFlags;
  const config = readServeConfig({ ...all, batchSizeCap: 1 });
  const grammar = grammarOf(flags);
  const template = templateOf(config, flags);
  const prompt = given ?? (await promptFromStdin());
  const engine = await startWithProgress(session, config.engine);
  try {
    const tokens =
      template === null
        ? await engine.tokenize(prompt, { addSpecial: true, parseSpecial: true })
        : (
            await template.prompt(
              {
                messages: [{ role: "user", content: prompt }],
                tools: null,
                addGenerationPrompt: true,
                variables: {},
              },
              engine,
            )
          ).tokens;
    if (tokens.length === 0)
      throw new MillraceError("USAGE", "the prompt is empty", {
        hint: 'give a text, e.g. millrace generate -m model.gguf "Once upon a time"',
      });
    const room = engine.card.contextTokens - tokens.length;
    if (room < 1)
      throw new MillraceError(
        "USAGE",
        `the prompt has ${tokens.length} tokens, and the engine holds ${engine.card.contextTokens}`,
        { hint: "shorten it, or raise --context" },
      );
    return await session.interruptible((signal) =>
      stream(session, engine, requestOf(tokens, room, flags, grammar), signal),
    );
  } finally {
    await engine.close();
  }
}

/** Prints the text as it comes and what it took; 130 when interrupted. */
async function stream(
  session: Session,
  engine: SupervisedEngine,
  request: GenerateRequest,
  signal: AbortSignal,
): Promise<number> {
  const { stdout, now } = session.surroundings;
  const from = now();
  const times: number[] = [];
  let text = "";
  const tokens: number[] = [];
  for await (const event of engine.generate(request, signal)) {
    if (event.type === "tokens") {
      if (event.tokens.length > 0) times.push(now() - from);
      tokens.push(...event.tokens);
      text += event.text;
      if (!session.json) stdout.write(event.text);
    } else if (event.type === "error") throw new MillraceError(codeOf(event.kind), event.message);
    else if (event.type === "finish") {
      const last = times.at(-1) ?? 0;
      const first = times[0] ?? 0;
      const rate = times.length > 1 ? (1000 * (times.length - 1)) / (last - first) : null;
      if (session.json)
        session.printJson({
          schema: "millrace.generate/1",
          text,
          tokens,
          finish: event.reason,
          seed: request.sampling.seed,
          promptTokens: event.promptTokens,
          completionTokens: event.completionTokens,
          firstTokenMs: first,
          tokensPerSecond: rate,
        });
      else {
        if (!text.endsWith("\n")) stdout.write("\n");
        session.note(
          [
            `${event.completionTokens} tokens after ${event.promptTokens} (${event.reason}, seed ${request.sampling.seed})`,
            `first after ${formatSeconds(first / 1000)}`,
            ...(rate === null ? [] : [`then ${formatNumber(rate)} tokens/s`]),
          ].join(", "),
        );
      }
      return event.reason === "cancelled" ? 130 : 0;
    }
  }
  throw new MillraceError("ENGINE_FAILED", "the engine stopped without finishing the request");
}

/** What kept the engine from serving the request: the request, or the engine. */
function codeOf(kind: string): ErrorCode {
  if (kind === "grammar") return "GRAMMAR_INVALID";
  return kind === "too-long" || kind === "invalid" ? "USAGE" : "ENGINE_FAILED";
}

function requestOf(
  prompt: Int32Array,
  room: number,
  flags: GenerateFlags,
  grammar: string | null,
): GenerateRequest {
  return {
    id: "generate",
    prompt,
    maxTokens: Math.min(flags.maxTokens ?? 256, room),
    sampling: {
      ...defaultSampling,
      temperature: flags.temperature ?? 0.8,
      topK: flags.topK ?? 0,
      topP: flags.topP ?? 1,
      minP: flags.minP ?? 0.05,
      seed: flags.seed ?? randomInt(2 ** 31),
    },
    stop: flags.stop ?? [],
    stopTokens: [],
    ignoreEos: flags.ignoreEos ?? false,
    minTokens: 0,
    grammar,
    priority: 0,
    deadlineSeconds: Number.POSITIVE_INFINITY,
  };
}

function grammarOf(flags: GenerateFlags): string | null {
  if (flags.grammar !== undefined && flags.jsonSchema !== undefined)
    throw new MillraceError("USAGE", "--grammar and --json-schema exclude each other");
  if (flags.grammar !== undefined) {
    const grammar = readTextFile(flags.grammar);
    checkGrammarSyntax(grammar, flags.grammar);
    return grammar;
  }
  if (flags.jsonSchema === undefined) return null;
  const text = readTextFile(flags.jsonSchema);
  try {
    return jsonSchemaToGbnf(JSON.parse(text));
  } catch (error) {
    if (error instanceof MillraceError) throw error;
    throw new MillraceError("CONFIG_SYNTAX", `${flags.jsonSchema} is not JSON`, { cause: error });
  }
}

function templateOf(config: OpenedConfig, flags: GenerateFlags): ChatTemplate | null {
  if (flags.chat !== true && config.server.chatTemplate === null) return null;
  const source = config.server.chatTemplate ?? config.card.chatTemplate;
  if (source === null)
    throw new MillraceError("USAGE", `${config.card.name} has no chat template`, {
      hint: "give one with --chat-template FILE, or leave --chat out",
    });
  return new ChatTemplate(source);
}

async function promptFromStdin(): Promise<string> {
  if (process.stdin.isTTY)
    throw new MillraceError("USAGE", "no prompt is given", {
      hint: 'millrace generate -m model.gguf "Once upon a time", or pipe a text in',
    });
  return (await wholeStream(process.stdin)).trimEnd();
}
