/** How a failure is told: what, where, how to repair it, where to read more; and the exit code that goes with it. */
import { readFileSync } from "node:fs";
import { formatPlace, MillraceError, type Place } from "@millrace/core";
import type { Paint } from "./ui/paint.ts";

/** Exit code of a failure: as errors.ts lists them, 1 for what nobody expected. */
export function exitOf(error: unknown): number {
  return error instanceof MillraceError ? error.exit : 1;
}

/** A failure for people: one sentence, the line of the file it is about, hint, and where to read more. */
export function describeFailure(error: unknown, paint: Paint, debug: boolean): readonly string[] {
  const lines: string[] = [];
  if (error instanceof MillraceError) {
    const said = error.at === undefined || error.message.startsWith(error.at.file);
    const place = said ? "" : `${paint("strong", formatPlace(error.at))} `;
    lines.push(`${paint("bad", `error[${error.code}]`)} ${place}${printable(error.message)}`);
    if (error.at !== undefined) lines.push(...excerpt(error.at, paint));
    if (error.hint !== undefined) lines.push(`${paint("name", "hint:")} ${error.hint}`);
    lines.push(`${paint("faint", "docs:")} millrace explain ${error.code}`);
  } else {
    lines.push(`${paint("bad", "error[INTERNAL]")} ${printable(messageOf(error))}`);
    lines.push(
      `${paint("name", "hint:")} this is a defect of Millrace; --debug shows where it happened`,
    );
  }
  if (debug) lines.push(...stackOf(error).map((line) => paint("faint", line)));
  return lines;
}

/** A failure for programs, `millrace.error/1`: one JSON object on stderr. */
export function failureJson(error: unknown, debug: boolean): object {
  const known = error instanceof MillraceError ? error : null;
  return {
    schema: "millrace.error/1",
    code: known?.code ?? "INTERNAL",
    message: messageOf(error),
    hint: known?.hint,
    ...known?.at,
    exit: exitOf(error),
    ...(debug ? { stack: stackOf(error) } : {}),
  };
}

/** The line of the file and a mark under the column; nothing when the file cannot be read again. */
function excerpt(at: Place, paint: Paint): readonly string[] {
  if (at.line === undefined) return [];
  let line: string | undefined;
  try {
    line = readFileSync(at.file, "utf8").split(/\r?\n/)[at.line - 1];
  } catch {
    return [];
  }
  if (line === undefined || line.trim() === "" || line.length > 200) return [];
  const number = String(at.line).padStart(6);
  const mark = " ".repeat(Math.max(0, (at.column ?? 1) - 1));
  const lines = [`${paint("faint", `${number} |`)} ${line.replaceAll("\t", " ")}`];
  if (at.column !== undefined)
    lines.push(`${paint("faint", `${" ".repeat(6)} |`)} ${mark}${paint("bad", "^")}`);
  return lines;
}

/** Messages may quote a file of any kind: its control characters must not reach the terminal. */
function printable(text: string): string {
  return text.replace(/[^\P{Cc}\n\t]/gu, "\u{fffd}");
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function stackOf(error: unknown): readonly string[] {
  const lines: string[] = [];
  for (let next: unknown = error; next instanceof Error; next = next.cause)
    lines.push(...(next.stack ?? next.message).split("\n"));
  return lines;
}
