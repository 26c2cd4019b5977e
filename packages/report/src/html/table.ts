/** Tables as HTML: typed columns, right-aligned numbers, bars that compare rows, ticks and crosses. */
import type { Cell, Column, TableBlock } from "../document.ts";
import { NO_NUMBER, writeInterval, writeNumber } from "../format.ts";
import { escapeHtml } from "../text.ts";
import { inlineHtml, markHtml } from "./inline.ts";

/** A table that scrolls inside its own box when the page is narrow. Columns can be sorted where scripts run. */
export function tableHtml(table: TableBlock): string {
  const label = escapeHtml(table.caption ?? "Table");
  const scales = table.columns.map((column, i) => barScale(column, table, i));
  const head = table.columns.map(headHtml).join("");
  const body = table.rows
    .map((row) => {
      const cells = table.columns
        .map((column, i) => cellHtml(row.cells[i] ?? null, column, scales[i] ?? 0, i === 0))
        .join("");
      return `<tr${row.emphasis === true ? ' class="emphasis"' : ""}>${cells}</tr>`;
    })
    .join("\n");
  const caption =
    table.caption === undefined ? "" : `<p class="caption">${inlineHtml(table.caption)}</p>`;
  const note = table.note === undefined ? "" : `<p class="note">${inlineHtml(table.note)}</p>`;
  return (
    `<div class="table">${caption}<div class="scroll" role="region" aria-label="${label}" tabindex="0">` +
    `<table><thead><tr>${head}</tr></thead>\n<tbody>${body}</tbody></table></div>${note}</div>`
  );
}

function headHtml(column: Column): string {
  const unit =
    column.unit === undefined ? "" : ` <span class="unit">${escapeHtml(column.unit)}</span>`;
  return `<th scope="col" class="${column.kind}">${escapeHtml(column.header)}${unit}</th>`;
}

function cellHtml(cell: Cell, column: Column, scale: number, first: boolean): string {
  const number = numberOf(cell);
  const attributes = [`class="${cellClass(cell, column, scale)}"`];
  if (number !== null) {
    if (Number.isFinite(number)) attributes.push(`data-v="${number}"`);
    if (scale > 0 && Number.isFinite(number)) {
      const share = Math.max(0, Math.min(1, number / scale));
      attributes.push(`style="--w:${share.toFixed(3)}"`);
    }
  } else if (typeof cell === "boolean") attributes.push(`data-v="${cell ? 1 : 0}"`);
  const tag = first && column.kind === "text" ? 'th scope="row"' : "td";
  return `<${tag} ${attributes.join(" ")}>${contentHtml(cell, column)}</${tag.slice(0, 2)}>`;
}

function cellClass(cell: Cell, column: Column, scale: number): string {
  const kind = typeof cell === "boolean" ? "check" : column.kind;
  return scale > 0 ? `${kind} bar` : kind;
}

function contentHtml(cell: Cell, column: Column): string {
  if (cell === null) return NO_NUMBER;
  if (typeof cell === "boolean") return markHtml(cell);
  if (typeof cell === "number") return escapeHtml(writeNumber(cell, column.format));
  if (typeof cell === "string")
    return column.kind === "code" ? `<code>${escapeHtml(cell)}</code>` : escapeHtml(cell);
  if ("text" in cell) {
    const note = cell.note === "" ? "" : `<span class="sub">${escapeHtml(cell.note)}</span>`;
    return `${escapeHtml(cell.text)}${note}`;
  }
  if ("met" in cell) {
    const value =
      typeof cell.value === "number" ? writeNumber(cell.value, column.format) : cell.value;
    return `${escapeHtml(value)} ${markHtml(cell.met)}`;
  }
  const interval = escapeHtml(writeInterval(cell.low, cell.high, column.format));
  return `${escapeHtml(writeNumber(cell.value, column.format))}<span class="sub">${interval}</span>`;
}

function numberOf(cell: Cell): number | null {
  if (typeof cell === "number") return cell;
  if (cell === null || typeof cell !== "object" || "text" in cell) return null;
  return typeof cell.value === "number" ? cell.value : null;
}

function barScale(column: Column, table: TableBlock, index: number): number {
  if (column.bar === undefined || column.bar === false) return 0;
  if (typeof column.bar === "number") return column.bar;
  let most = 0;
  for (const row of table.rows) {
    const value = numberOf(row.cells[index] ?? null);
    if (value !== null && Number.isFinite(value) && value > most) most = value;
  }
  return most;
}
