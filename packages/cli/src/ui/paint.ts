/** Colours, by meaning. A gate decides once per stream; the rest of the program never asks whether colours are on. */
import { styleText } from "node:util";

const styles = {
  strong: "bold",
  faint: "dim",
  good: "green",
  bad: "red",
  warning: "yellow",
  name: "cyan",
} as const;

/** What a piece of text means. */
export type Style = keyof typeof styles;

/** Colours a text, or returns it as it is. */
export type Paint = (style: Style, text: string) => string;

/** No colours. */
export const unpainted: Paint = (_style, text) => text;

/** ANSI colours. */
export const painted: Paint = (style, text) =>
  text === "" ? "" : styleText(styles[style], text, { validateStream: false });

/** Whether a stream gets colours: NO_COLOR (https://no-color.org) wins, then FORCE_COLOR, then whether it is a terminal. */
export function wantsColour(
  isTerminal: boolean,
  environment: Readonly<Record<string, string | undefined>>,
): boolean {
  if ((environment.NO_COLOR ?? "") !== "") return false;
  const force = environment.FORCE_COLOR;
  if (force !== undefined) return force !== "0" && force !== "false";
  return isTerminal && environment.TERM !== "dumb";
}
