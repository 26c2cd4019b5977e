/**
 * Chat: from messages to prompt tokens by a model's own Jinja template, and from a model's text back to tool calls.
 * Owns templates, message shapes and tool-call formats; knows nothing of HTTP.
 *
 * This file: the template. Special tokens that a template asks for by name (bos_token, eos_token) are put in as
 * markers that no text can contain, so that they become the right ids without a second BOS.
 */
import { randomUUID } from "node:crypto";
import { Template } from "@huggingface/jinja";
import { MillraceError } from "@millrace/core";
import type { EngineClient } from "../contracts.ts";

/** Templates that can be given by name instead of a source. */
export const namedTemplates = {
  chatml:
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
} as const satisfies Record<string, string>;

/** What a template is rendered with; further variables come from chat_template_kwargs. */
export interface TemplateInput {
  readonly messages: readonly Readonly<Record<string, unknown>>[];
  /** Tool definitions in OpenAI's form, or null where the request has none. */
  readonly tools: readonly unknown[] | null;
  readonly addGenerationPrompt: boolean;
  readonly variables: Readonly<Record<string, unknown>>;
}

/** What tokenising a rendered prompt needs of the engine. */
export type PromptTokenizer = Pick<EngineClient, "tokenize" | "card">;

function words(thrown: unknown): string {
  return (thrown instanceof Error ? thrown.message : String(thrown)).slice(0, 500);
}

/** A compiled chat template. */
export class ChatTemplate {
  readonly #template: Template;
  readonly #bos = `\u{e000}bos ${randomUUID()}\u{e001}`;
  readonly #eos = `\u{e000}eos ${randomUUID()}\u{e001}`;

  /** `source`: Jinja, or a name of `namedTemplates`. Throws CONFIG_INVALID where it cannot be parsed. */
  constructor(source: string) {
    try {
      const named: Readonly<Record<string, string>> = namedTemplates;
      this.#template = new Template(named[source.trim()] ?? source);
    } catch (thrown) {
      throw new MillraceError(
        "CONFIG_INVALID",
        `The chat template cannot be parsed: ${words(thrown)}.`,
        { hint: "Give another one, or its name `chatml`, as chat template.", cause: thrown },
      );
    }
  }

  /** The prompt as text, special tokens as markers. Throws CONFIG_INVALID with the template's own words. */
  #render(input: TemplateInput): string {
    try {
      return this.#template.render({
        ...input.variables,
        messages: input.messages,
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
  async tokens(input: TemplateInput, engine: PromptTokenizer): Promise<Int32Array> {
    const text = this.#render(input);
    const { bosToken, eosToken } = engine.card;
    const parts = text.split(new RegExp(`(${this.#bos}|${this.#eos})`));
    const ids: number[] = [];
    for (const [i, part] of parts.entries()) {
      if (part === this.#bos) {
        if (bosToken !== null) ids.push(bosToken);
      } else if (part === this.#eos) {
        if (eosToken !== null) ids.push(eosToken);
      } else if (part !== "") {
        // What the tokeniser adds belongs to the very start, and only where the template did not begin with BOS.
        const addSpecial = i === 0 && ids.length === 0;
        for (const id of await engine.tokenize(part, { addSpecial, parseSpecial: true }))
          ids.push(id);
      }
    }
    // A template may spell BOS out as text; the tokeniser's own then stands before it. Some tokenisers also end with EOS.
    if (bosToken !== null && ids[0] === bosToken && ids[1] === bosToken) ids.shift();
    return Int32Array.from(ids);
  }
}
