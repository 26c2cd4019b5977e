/** Pieces that many scripts share. */
import { chat, done, event, finish, usage } from "./script.ts";

export const word = (text: string): string => event(chat({ content: text }));
export const [a, b, c] = [word("one "), word("two "), word("three")];
export const ending = event(finish()) + event(usage(3)) + done;
export const json = { "content-type": "application/json" };
export const whole = a + b + c + ending;

/** Every byte a write of its own. */
export const bytes = (text: string): readonly Buffer[] =>
  Array.from(Buffer.from(text), (byte) => Buffer.of(byte));

export const cut = (text: string, at: number): readonly Buffer[] => {
  const all = Buffer.from(text);
  return [all.subarray(0, at), all.subarray(at)];
};

export const fine = {
  status: "ok",
  tokens: 3,
  text: ["one two three"],
  finish: ["length"],
} as const;
