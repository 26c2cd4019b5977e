/** Reasoning in a model's text: what stands between <think> and </think> before the answer. */
import { combineGrammars, upToRules } from "../grammar/index.ts";
import { heldBack } from "./held-back.ts";

const opener = "<think>";
const closer = "</think>";

/** Whether a chat template knows of reasoning. */
export function marksReasoning(template: string): boolean {
  return template.includes(opener) || template.includes(closer);
}

/** What a prompt's end means for the text that follows: reasoning is open, has been closed, or may come. */
export function reasoningAtEnd(prompt: string): "open" | "closed" | "possible" {
  const end = prompt.trimEnd();
  if (end.endsWith(opener)) return "open";
  return end.endsWith(closer) ? "closed" : "possible";
}

/** Text of one choice taken apart. */
export interface Reasoned {
  readonly reasoning: string;
  readonly content: string;
}

/** Splits the text of one choice, over any splits of it, into reasoning and answer; white space at their border is dropped. */
export class ReasoningParser {
  #state: "start" | "inside" | "after" | "answer";
  #buffer = "";
  /** Nothing of the reasoning has been given out yet. */
  #fresh = true;

  /** `open`: the prompt has opened the reasoning already. */
  constructor(open: boolean) {
    this.#state = open ? "inside" : "start";
  }

  /** Whether what comes now is reasoning. */
  get inside(): boolean {
    return this.#state === "inside";
  }

  /** Takes more text; gives what is certain by now. */
  push(text: string): Reasoned {
    this.#buffer += text;
    let reasoning = "";
    if (this.#state === "start") {
      const begun = this.#buffer.trimStart();
      if (begun.startsWith(opener)) {
        this.#state = "inside";
        this.#buffer = begun.slice(opener.length);
      } else if (!opener.startsWith(begun)) this.#state = "answer";
    }
    if (this.#state === "inside") {
      if (this.#fresh) this.#buffer = this.#buffer.trimStart();
      const at = this.#buffer.indexOf(closer);
      if (at >= 0) {
        reasoning = this.#buffer.slice(0, at).trimEnd();
        this.#buffer = this.#buffer.slice(at + closer.length);
        this.#state = "after";
      } else {
        const held = heldBack(this.#buffer, [closer]);
        reasoning = this.#buffer.slice(0, this.#buffer.length - held).trimEnd();
        this.#buffer = this.#buffer.slice(reasoning.length);
        if (reasoning !== "") this.#fresh = false;
      }
    }
    if (this.#state === "after") {
      this.#buffer = this.#buffer.trimStart();
      if (this.#buffer !== "") this.#state = "answer";
    }
    if (this.#state !== "answer") return { reasoning, content: "" };
    const content = this.#buffer;
    this.#buffer = "";
    return { reasoning, content };
  }

  /** The text has ended: gives what was still held back. */
  end(): Reasoned {
    const rest = this.#buffer;
    this.#buffer = "";
    if (this.#state === "inside") return { reasoning: rest.trimEnd(), content: "" };
    return { reasoning: "", content: this.#state === "after" ? "" : rest };
  }
}

/** `grammar` for the answer, behind reasoning that the prompt has opened. */
export function afterReasoning(grammar: string): string {
  return combineGrammars(
    [grammar],
    ([answer]) => `reasoning [ \\n]{0,4} ${answer}`,
    upToRules("reasoning", closer),
  );
}
