/**
 * Tool calls in a model's text, found while it streams. Forms: `<tool_call>{…}</tool_call>` (Hermes, Qwen), a bare
 * `{"name": …, "parameters": {…}}` with or without <|python_tag|> (Llama 3), and `[TOOL_CALLS][{…}, …]` or
 * `[TOOL_CALLS]name[ARGS]{…}` (Mistral). A forced call is the bare form, which its grammar guarantees.
 */
import { randomBytes } from "node:crypto";
import { heldBack } from "./held-back.ts";
import { balancedLength, JsonScanner } from "./json-scan.ts";

/** News of one call; `id` and `name` come with the first, `arguments` in pieces of one JSON text. */
export interface ToolCallDelta {
  readonly index: number;
  readonly id?: string;
  readonly name?: string;
  readonly arguments: string;
}

/** What a piece of model text turned out to be. */
export interface ParsedText {
  readonly content: string;
  readonly calls: readonly ToolCallDelta[];
}

const openers = ["<tool_call>", "[TOOL_CALLS]", "<|python_tag|>"] as const;
const betweens = ["</tool_call>", ...openers] as const;
const callKeys = new Set(["name", "type", "id", "function", "arguments", "parameters"]);
const header =
  /^\{\s*(?:"(?:type|id)"\s*:\s*"[^"\\]*"\s*,\s*)*"name"\s*:\s*("(?:[^"\\]|\\.)*")\s*,\s*"(?:arguments|parameters)"\s*:\s*(?=\{)/;
const namedHeader = /^([\w.-]+)(?:\[CALL_ID\][\w-]*)?(?:\[ARGS\])?\s*(?=\{)/;
const partOfNamedHeader = /^[\w.-]+(?:\[[A-Z_]*\]?[\w-]*)*(?:\[[A-Z]*)?\s*$/;
const firstKey = /^\{\s*"((?:[^"\\]|\\.)*)"/;

/** Letters and digits, nine of them: the one form of id that every model's template accepts. */
function newId(): string {
  const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
  return Array.from(randomBytes(9), (byte) => letters[byte % letters.length]).join("");
}

function unquote(json: string): string {
  try {
    return String(JSON.parse(json));
  } catch {
    return json.slice(1, -1);
  }
}

interface WholeCall {
  readonly name: string;
  readonly text: string;
}

/** A call from a whole object in any key order, or null where it is none. */
function readCall(json: string): WholeCall | null {
  try {
    const value = JSON.parse(json) as Record<string, unknown>;
    const inner = value["function"];
    const call =
      typeof inner === "object" && inner !== null ? (inner as Record<string, unknown>) : value;
    const given = call["arguments"] ?? call["parameters"] ?? {};
    if (typeof call["name"] !== "string") return null;
    return { name: call["name"], text: typeof given === "string" ? given : JSON.stringify(given) };
  } catch {
    return null;
  }
}

type State = "start" | "content" | "object" | "arguments" | "between";

/** Splits the text of one choice into content and tool calls. */
export class ToolCallParser {
  readonly #names: ReadonlySet<string>;
  #state: State = "start";
  #buffer = "";
  /** What stood before a bare object; given back when it turns out to be content. */
  #prefix = "";
  #scanner = new JsonScanner();
  #calls = 0;
  /** The object being read was announced by a marker, so its name need not be known. */
  #marked = false;
  /** The arguments stand inside an object that must still be closed. */
  #inObject = false;
  #content = "";
  #deltas: ToolCallDelta[] = [];

  /** `names`: functions of the request; a bare object that names none of them is content. */
  constructor(names: Iterable<string>) {
    this.#names = new Set(names);
  }

  /** Whether any call has begun. */
  get called(): boolean {
    return this.#calls > 0;
  }

  /** Takes more text; gives what is certain by now. */
  push(text: string): ParsedText {
    this.#buffer += text;
    while (this.#advance()) {}
    return this.#take();
  }

  /** The text has ended: gives what was still held back. */
  end(): ParsedText {
    if (this.#state === "object" && this.#wholeObject()) while (this.#advance()) {}
    if (this.#state === "between") this.#buffer = this.#buffer.replace(/^[\s\]},;]+/, "");
    if (this.#state !== "arguments") this.#content += this.#prefix + this.#buffer;
    this.#prefix = "";
    this.#buffer = "";
    return this.#take();
  }

  #take(): ParsedText {
    const taken = { content: this.#content, calls: this.#deltas };
    this.#content = "";
    this.#deltas = [];
    return taken;
  }

  /** One step; false when more text is needed. */
  #advance(): boolean {
    switch (this.#state) {
      case "start":
        return this.#start();
      case "content":
        return this.#plain();
      case "object":
        return this.#object();
      case "arguments":
        return this.#arguments();
      case "between":
        return this.#between();
    }
  }

  #start(): boolean {
    const text = this.#buffer.trimStart();
    if (text === "") return false;
    const bare = /^\[?\s*\{/.exec(text);
    if (bare !== null) {
      this.#buffer = text.slice(bare[0].length - 1);
      this.#prefix = text.slice(0, bare[0].length - 1);
      this.#state = "object";
      this.#marked = false;
      return true;
    }
    // A lone "[" may be the beginning of a list of calls.
    if (/^\[\s*$/.test(text)) return false;
    this.#state = "content";
    return true;
  }

  #plain(): boolean {
    let first = -1;
    let length = 0;
    for (const opener of openers) {
      const at = this.#buffer.indexOf(opener);
      if (at >= 0 && (first < 0 || at < first)) {
        first = at;
        length = opener.length;
      }
    }
    if (first >= 0) {
      this.#content += this.#buffer.slice(0, first).trimEnd();
      this.#buffer = this.#buffer.slice(first + length);
      this.#state = "object";
      this.#marked = true;
      return true;
    }
    // White space before a marker belongs to neither, so it waits for what follows.
    const held = heldBack(this.#buffer, openers);
    const sure = this.#buffer.slice(0, this.#buffer.length - held).trimEnd();
    this.#content += sure;
    this.#buffer = this.#buffer.slice(sure.length);
    return false;
  }

  #object(): boolean {
    if (this.#marked) this.#buffer = this.#buffer.replace(/^[\s[]+/, "");
    if (this.#buffer === "") return false;
    if (!this.#buffer.startsWith("{")) {
      const named = namedHeader.exec(this.#buffer);
      if (named !== null) return this.#begin(named[1] ?? "", named[0].length, false);
      return partOfNamedHeader.test(this.#buffer) ? false : this.#giveBack();
    }
    const key = firstKey.exec(this.#buffer)?.[1];
    if (!this.#marked && key !== undefined && !callKeys.has(key)) return this.#giveBack();
    const found = header.exec(this.#buffer);
    if (found !== null) {
      const name = unquote(found[1] ?? "");
      if (!this.#marked && !this.#names.has(name)) return this.#giveBack();
      return this.#begin(name, found[0].length, true);
    }
    return this.#wholeObject();
  }

  /** Takes an object whose end is there; keys may stand in any order. */
  #wholeObject(): boolean {
    const length = this.#buffer.startsWith("{") ? balancedLength(this.#buffer) : -1;
    if (length < 0) return false;
    const call = readCall(this.#buffer.slice(0, length));
    if (call === null || (!this.#marked && !this.#names.has(call.name))) return this.#giveBack();
    this.#announce(call.name);
    this.#add(call.text);
    this.#buffer = this.#buffer.slice(length);
    this.#state = "between";
    return true;
  }

  #begin(name: string, consumed: number, inObject: boolean): boolean {
    this.#announce(name);
    this.#buffer = this.#buffer.slice(consumed);
    this.#scanner = new JsonScanner();
    this.#inObject = inObject;
    this.#state = "arguments";
    return true;
  }

  #announce(name: string): void {
    this.#deltas.push({ index: this.#calls, id: newId(), name, arguments: "" });
    this.#calls++;
    this.#prefix = "";
  }

  #add(text: string): void {
    if (text !== "") this.#deltas.push({ index: this.#calls - 1, arguments: text });
  }

  #giveBack(): boolean {
    this.#buffer = this.#prefix + this.#buffer;
    this.#prefix = "";
    this.#state = "content";
    return true;
  }

  #arguments(): boolean {
    if (this.#buffer === "") return false;
    const length = this.#scanner.feed(this.#buffer);
    this.#add(this.#buffer.slice(0, length));
    this.#buffer = this.#buffer.slice(length);
    if (!this.#scanner.ended) return false;
    this.#state = "between";
    return true;
  }

  /** After a call: closers and separators are dropped, another call may follow, anything else is content. */
  #between(): boolean {
    this.#buffer = this.#buffer.replace(/^\s+/, "");
    if (this.#inObject && this.#buffer.startsWith("}")) {
      this.#inObject = false;
      this.#buffer = this.#buffer.slice(1);
      return true;
    }
    if (this.#buffer === "") return false;
    for (const word of betweens) {
      if (this.#buffer.startsWith(word)) {
        this.#buffer = this.#buffer.slice(word.length);
        if (word !== "</tool_call>") this.#marked = true;
        this.#state = word === "</tool_call>" ? "between" : "object";
        return true;
      }
    }
    if (betweens.some((word) => word.startsWith(this.#buffer))) return false;
    const c = this.#buffer[0] ?? "";
    if (c === "{") {
      this.#state = "object";
      return true;
    }
    if (c === "," || c === ";" || c === "]") {
      this.#buffer = this.#buffer.slice(1);
      return true;
    }
    this.#state = "content";
    return true;
  }
}
