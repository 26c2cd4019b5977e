/**
 * Terminal output: widths, colours, tables, progress, small charts. Results are strings that a command prints; nothing
 * here writes to a stream except progress.ts. Widths are in terminal cells, never in UTF-16 units.
 *
 * This file: how many cells a text takes.
 */

// biome-ignore lint/suspicious/noControlCharactersInRegex: escape sequences are what is matched
const escapes = /\u001b\[[0-9;]*[A-Za-z]|\u001b\]8;[^\u0007\u001b]*(?:\u0007|\u001b\\)/g;
const zeroWidth = /^(?:\p{Mn}|\p{Me}|\p{Cf}|\u200b|\ufe0f)$/u;

/** Inclusive ranges of code points that take two cells (East Asian Wide and Fullwidth, emoji). */
const wide: readonly (readonly [number, number])[] = [
  [0x1100, 0x115f],
  [0x231a, 0x231b],
  [0x23e9, 0x23ec],
  [0x2e80, 0x303e],
  [0x3041, 0x33ff],
  [0x3400, 0x4dbf],
  [0x4e00, 0x9fff],
  [0xa000, 0xa4cf],
  [0xac00, 0xd7a3],
  [0xf900, 0xfaff],
  [0xfe30, 0xfe6f],
  [0xff00, 0xff60],
  [0xffe0, 0xffe6],
  [0x1f300, 0x1f64f],
  [0x1f680, 0x1f6ff],
  [0x1f900, 0x1f9ff],
  [0x20000, 0x3fffd],
];

function cellsOf(character: string): number {
  const code = character.codePointAt(0) ?? 0;
  if (code < 0x300) return code < 32 || (code >= 0x7f && code < 0xa0) ? 0 : 1;
  if (zeroWidth.test(character)) return 0;
  return wide.some(([low, high]) => code >= low && code <= high) ? 2 : 1;
}

/** The text without colours and links. */
export function plain(text: string): string {
  return text.includes("\u001b") ? text.replace(escapes, "") : text;
}

/** Cells that a text takes; colours take none. */
export function widthOf(text: string): number {
  let cells = 0;
  for (const character of plain(text)) cells += cellsOf(character);
  return cells;
}

/** Pads with blanks to `cells`; a longer text is left alone. */
export function pad(text: string, cells: number, align: "left" | "right"): string {
  const blanks = " ".repeat(Math.max(0, cells - widthOf(text)));
  return align === "left" ? text + blanks : blanks + text;
}

/** Cuts to at most `cells`, the last of which is then an ellipsis. Colours of a cut text are lost. */
export function cut(text: string, cells: number): string {
  if (widthOf(text) <= cells) return text;
  let kept = "";
  let used = 0;
  for (const character of plain(text)) {
    const next = cellsOf(character);
    if (used + next > cells - 1) break;
    kept += character;
    used += next;
  }
  return cells < 1 ? "" : `${kept}…`;
}

/** Breaks a text at blanks into lines of at most `cells`, where words allow. */
export function wrap(text: string, cells: number): readonly string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line !== "" && widthOf(line) + 1 + widthOf(word) > cells) {
      lines.push(line);
      line = word;
    } else line = line === "" ? word : `${line} ${word}`;
  }
  lines.push(line);
  return lines;
}
