/** Looking into JSON that a stranger sent: nothing is taken to be what it should be. */

export type Json = Readonly<Record<string, unknown>>;

/** The value as an object, null when it is none. */
export function objectOf(value: unknown): Json | null {
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? (value as Json)
    : null;
}

/** The value as a list, empty when it is none. */
export function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

/** A finite number, -1 otherwise. */
export function countOf(value: unknown): number {
  return typeof value === "number" && Number.isFinite(value) && value >= 0 ? value : -1;
}

/** Text of a content field: a string, or the text parts of a list of parts. */
export function textOf(value: unknown): string {
  if (typeof value === "string") return value;
  if (!Array.isArray(value)) return "";
  let text = "";
  for (const part of value) {
    const inner = objectOf(part)?.text;
    if (typeof inner === "string") text += inner;
  }
  return text;
}

/** Names and arguments of tool calls, as the text that the model wrote for them. */
export function toolText(delta: Json): string {
  let text = "";
  for (const call of listOf(delta.tool_calls)) {
    const made = objectOf(objectOf(call)?.function);
    text += textOf(made?.name) + textOf(made?.arguments);
  }
  const legacy = objectOf(delta.function_call);
  return text + textOf(legacy?.name) + textOf(legacy?.arguments);
}

/** Message of an error as servers put it: a string, {message}, {error: …}, {detail: …}, a list. */
export function messageOf(value: unknown): string {
  if (typeof value === "string") return value;
  if (Array.isArray(value)) return value.map(messageOf).filter(Boolean).join("; ");
  const object = objectOf(value);
  if (object === null) return "";
  for (const key of ["error", "message", "detail", "msg"]) {
    const text = messageOf(object[key]);
    if (text !== "") return text;
  }
  return "";
}

/** Finite numbers of an object, nested names joined by a dot. */
export function flatNumbers(value: Json, into: Record<string, number>, prefix = ""): void {
  for (const [key, inner] of Object.entries(value)) {
    if (typeof inner === "number" && Number.isFinite(inner)) into[prefix + key] = inner;
    else {
      const object = objectOf(inner);
      if (object !== null && prefix === "") flatNumbers(object, into, `${key}.`);
    }
  }
}
