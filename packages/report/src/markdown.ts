/** A report as Markdown (GitHub flavour): everything but the charts, which are named. */
import { assertNever } from "@millrace/core";
import type { Block, Cell, Column, KeyFigure, ReportDocument, TableBlock } from "./document.ts";
import { NO_NUMBER, writeInterval, writeNumber } from "./format.ts";
import { clean, inlinePieces } from "./text.ts";

/** The whole report as text that ends with a line break. */
export function renderMarkdown(report: ReportDocument): string {
  const { verdict } = report;
  const parts = [
    `# ${prose(report.title)}`,
    report.subtitle === undefined ? "" : prose(report.subtitle),
    `**${prose(verdict.headline)}**`,
    verdict.detail === undefined ? "" : paragraphs(verdict.detail),
    figures(verdict.figures),
    ...report.sections.flatMap((s) => [`## ${prose(s.heading)}`, ...s.blocks.map(block)]),
    "---",
    [...report.madeWith.map((f) => `${plain(f.label)} ${plain(f.value)}`), "made by Millrace"].join(
      " · ",
    ),
    report.command === undefined ? "" : fence(report.command, "sh"),
  ];
  return `${parts.filter((p) => p !== "").join("\n\n")}\n`;
}

function block(item: Block): string {
  switch (item.kind) {
    case "prose":
    case "note":
      return paragraphs(item.text);
    case "list":
      return list(item.items);
    case "figures":
      return figures(item.figures);
    case "facts":
      return item.facts.map((f) => `- ${plain(f.label)}: ${prose(f.value)}`).join("\n");
    case "table":
      return table(item);
    case "charts":
      return item.charts
        .map(
          (c) =>
            `_Chart: ${prose(c.title)}${c.caption === undefined ? "" : `. ${prose(c.caption)}`}_`,
        )
        .join("\n\n");
    case "callout":
      return [`> **${prose(item.title)}**`, ...item.items.map((i) => `> - ${prose(i)}`)].join("\n");
    case "raster":
      return `_Chart: ${prose(item.title)}. Drawn in the HTML report._`;
    case "code":
      return `${item.label === undefined ? "" : `${prose(item.label)}\n\n`}${fence(item.text, "")}`;
    case "details":
      return `<details><summary>${plain(item.summary)}</summary>\n\n${item.blocks.map(block).join("\n\n")}\n\n</details>`;
    default:
      return assertNever(item);
  }
}

function figures(items: readonly KeyFigure[]): string {
  return items
    .map((f) => {
      const unit = f.unit === undefined ? "" : ` ${plain(f.unit)}`;
      const note = f.note === undefined ? "" : ` (${prose(f.note)})`;
      return `- ${plain(f.label)}: **${plain(f.value)}${unit}**${note}`;
    })
    .join("\n");
}

function table(item: TableBlock): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`;
  const head = item.columns.map((c) =>
    plain(c.unit === undefined ? c.header : `${c.header} (${c.unit})`),
  );
  const rule = item.columns.map((c) =>
    c.kind === "number" ? "---:" : c.kind === "check" ? ":---:" : "---",
  );
  const rows = item.rows.map((r) =>
    line(
      item.columns.map((c, i) => {
        const text = cell(r.cells[i] ?? null, c);
        return r.emphasis === true && i === 0 ? `**${text}**` : text;
      }),
    ),
  );
  const caption = item.caption === undefined ? [] : [`**${prose(item.caption)}**`, ""];
  const note = item.note === undefined ? [] : ["", prose(item.note)];
  return [...caption, line(head), line(rule), ...rows, ...note].join("\n");
}

function cell(value: Cell, column: Column): string {
  if (value === null) return NO_NUMBER;
  if (typeof value === "boolean") return value ? "✓" : "✗";
  if (typeof value === "number") return plain(writeNumber(value, column.format));
  if (typeof value === "string") return plain(value);
  if ("text" in value)
    return plain(value.note === "" ? value.text : `${value.text} (${value.note})`);
  const shown =
    typeof value.value === "number" ? writeNumber(value.value, column.format) : value.value;
  if ("met" in value) return `${plain(shown)} ${value.met ? "✓" : "✗"}`;
  return `${plain(shown)} (${plain(writeInterval(value.low, value.high, column.format))})`;
}

function list(items: readonly string[]): string {
  return items.map((i) => `- ${prose(i)}`).join("\n");
}

function paragraphs(text: string): string {
  return text
    .split(/\n\s*\n/)
    .map((p) => prose(p.trim()))
    .filter((p) => p !== "")
    .join("\n\n");
}

/** Running text; names between backticks stay code. */
function prose(text: string): string {
  return inlinePieces(text)
    .map((p) =>
      p.code ? `\`${clean(p.text).replace(/\s+/g, " ").replaceAll("|", "\\|")}\`` : plain(p.text),
    )
    .join("");
}

/** One line of text in which nothing is markup. */
function plain(text: string): string {
  return (
    clean(text)
      .replace(/\s+/g, " ")
      .replace(/[\\*_[\]|~#]/g, "\\$&")
      .replaceAll("&", "&amp;")
      // As an entity: after a backslash, a code span may follow at once.
      .replaceAll("`", "&#96;")
      .replaceAll("<", "&lt;")
      .replaceAll(">", "&gt;")
  );
}

/** A code block whose fence is longer than any run of backticks inside it. */
function fence(text: string, language: string): string {
  const longest = Math.max(2, ...[...text.matchAll(/`+/g)].map((m) => m[0].length));
  const marks = "`".repeat(longest + 1);
  return `${marks}${language}\n${clean(text)}\n${marks}`;
}
