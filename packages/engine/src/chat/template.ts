/**
 * Chat: from messages to prompt tokens by a model's own Jinja template, and from a model's text back to tool calls.
 * Owns templates, message shapes and tool-call formats; knows nothing of HTTP.
 *
 * This file: the template. Special tokens that a template asks for by name (bos_token, eos_token) are put in as
 * markers that no text can contain, so that they become the right ids without a second BOS.
 */
import { randomUUID } from "node:crypto";
import { Template } from "@huggingface/jinja";
import { didYouMean, MillraceError } from "@millrace/core";
import type { EngineClient } from "../contracts.ts";
import { namedTemplates } from "./named-templates.ts";

/** What a template is rendered with; further variables come from chat_template_kwargs. */
export interface TemplateInput {
  readonly messages: readonly Readonly<Record<string, unknown>>[];
  /** Tool definitions in OpenAI's form, or null where the request has none. */
  readonly tools: readonly unknown[] | null;
  readonly addGenerationPrompt: boolean;
  readonly variables: Readonly<Record<string, unknown>>;
  /** The prompt ends in the last message's content, which the model goes on writing. */
  readonly continueFinal?: boolean;
}

/** A prompt of a chat. */
export interface ChatPrompt {
  readonly tokens: Int32Array;
  /** As it was tokenised, without the special tokens that the template asked for by name. */
  readonly text: string;
}

/** What tokenising a rendered prompt needs of the engine. */
export type PromptTokenizer = Pick<EngineClient, "tokenize" | "card">;

function words(thrown: unknown): string {
  return (thrown instanceof Error ? thrown.message : String(thrown)).slice(0, 500);
}

/** A text without braces prints itself whatever the messages are, so it must be meant as a name. */
function sourceOf(given: string): string {
  const named: Readonly<Record<string, string>> = namedTemplates;
  const name = given.trim();
  const known = Object.keys(named);
  if (known.includes(name)) return named[name] ?? given;
  if (given.includes("{")) return given;
  const near = didYouMean(name, known);
  throw new MillraceError(
    "CONFIG_INVALID",
    `There is no chat template ${JSON.stringify(name.slice(0, 100))}.`,
    {
      hint: near === null ? `Known names: ${known.join(", ")}.` : `Did you mean ${near}?`,
    },
  );
}

/** A compiled chat template. */
export class ChatTemplate {
  /** The Jinja source. */
  readonly source: string;
  readonly #template: Template;
  readonly #bos = `\u{e000}bos ${randomUUID()}\u{e001}`;
  readonly #eos = `\u{e000}eos ${randomUUID()}\u{e001}`;
  readonly #cut = `\u{e000}cut ${randomUUID()}\u{e001}`;

  /** `source`: Jinja, or a name of `namedTemplates`. Throws CONFIG_INVALID where it cannot be parsed. */
  constructor(source: string) {
    this.source = sourceOf(source);
    try {
      this.#template = new Template(this.source);
    } catch (thrown) {
      throw new MillraceError(
        "CONFIG_INVALID",
        `The chat template cannot be parsed: ${words(thrown)}.`,
        {
          hint: `Give another one, or a name (${Object.keys(namedTemplates).join(", ")}), as chat template.`,
          cause: thrown,
        },
      );
    }
  }

  /** The prompt as text, special tokens as markers. Throws CONFIG_INVALID with the template's own words. */
  #render(input: TemplateInput): string {
    if (input.continueFinal !== true) return this.#renderAll(input, input.messages);
    const last = input.messages.at(-1);
    const content = typeof last?.["content"] === "string" ? last["content"] : "";
    const text = this.#renderAll(input, [
      ...input.messages.slice(0, -1),
      { ...last, content: content + this.#cut },
    ]);
    const end = text.lastIndexOf(this.#cut);
    if (end < 0)
      throw new MillraceError(
        "CONFIG_INVALID",
        "The model's chat template leaves the final message out, so it cannot be continued.",
      );
    return text.slice(0, end).replaceAll(this.#cut, "");
  }

  #renderAll(input: TemplateInput, messages: TemplateInput["messages"]): string {
    try {
      return this.#template.render({
        ...input.variables,
        messages,
        tools: input.tools,
        documents: null,
        add_generation_prompt: input.addGenerationPrompt,
        bos_token: this.#bos,
        eos_token: this.#eos,
      });
    } catch (thrown) {
      throw new MillraceError(
        "CONFIG_INVALID",
        `The model's chat template refused the messages: ${words(thrown)}.`,
        {
          hint: "Usual causes: roles that do not alternate, a role the template does not know, or content of the wrong kind.",
          cause: thrown,
        },
      );
    }
  }

  /** The prompt as text; markers become `bos` and `eos`. */
  text(input: TemplateInput, bos: string, eos: string): string {
    return this.#render(input).replaceAll(this.#bos, bos).replaceAll(this.#eos, eos);
  }

  /**
   * The prompt as token ids. A template that sets BOS itself gets no second one; one that does not gets what the
   * model's tokeniser adds of its own.
   */
  async prompt(input: TemplateInput, engine: PromptTokenizer): Promise<ChatPrompt> {
    const text = this.#render(input);
    const { bosToken, eosToken } = engine.card;
    const parts = text.split(new RegExp(`(${this.#bos}|${this.#eos})`));
    const ids: Int32Array[] = [];
    for (const [i, part] of parts.entries()) {
      if (part === this.#bos) {
        if (bosToken !== null) ids.push(Int32Array.of(bosToken));
      } else if (part === this.#eos) {
        if (eosToken !== null) ids.push(Int32Array.of(eosToken));
      } else if (part !== "") {
        // What the tokeniser adds belongs to the very start, and only where the template did not begin with BOS.
        const addSpecial = i === 0;
        ids.push(await engine.tokenize(part, { addSpecial, parseSpecial: true }));
      }
    }
    const tokens = joined(ids);
    // A template may spell BOS out as text; the tokeniser's own then stands before it.
    const twice = bosToken !== null && tokens[0] === bosToken && tokens[1] === bosToken;
    return {
      tokens: twice ? tokens.subarray(1) : tokens,
      text: text.replaceAll(this.#bos, "").replaceAll(this.#eos, ""),
    };
  }
}

function joined(parts: readonly Int32Array[]): Int32Array {
  const whole = new Int32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
