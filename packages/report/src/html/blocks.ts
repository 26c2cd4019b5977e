/** The blocks of a section as HTML. */
import { assertNever } from "@millrace/core";
import type { Block, Fact, Figure, KeyFigure } from "../document.ts";
import { embedJson, escapeHtml } from "../text.ts";
import { inlineHtml, paragraphsHtml } from "./inline.ts";
import { packRaster } from "./raster.ts";
import { tableHtml } from "./table.ts";

/** One block. */
export function blockHtml(block: Block): string {
  switch (block.kind) {
    case "prose":
      return paragraphsHtml(block.text);
    case "note":
      return paragraphsHtml(block.text, "note");
    case "list":
      return `<ul>${block.items.map((i) => `<li>${inlineHtml(i)}</li>`).join("")}</ul>`;
    case "figures":
      return figuresHtml(block.figures);
    case "facts":
      return factsHtml(block.facts);
    case "table":
      return tableHtml(block);
    case "charts":
      return `<div class="charts columns-${block.columns}">${block.charts.map(chartHtml).join("\n")}</div>`;
    case "callout":
      return (
        `<aside class="callout ${block.tone}"><p class="callout-title">${inlineHtml(block.title)}</p>` +
        `${block.items.length === 0 ? "" : `<ul>${block.items.map((i) => `<li>${inlineHtml(i)}</li>`).join("")}</ul>`}</aside>`
      );
    case "raster":
      return rasterHtml(block);
    case "code": {
      const label =
        block.label === undefined ? "" : `<p class="caption">${inlineHtml(block.label)}</p>`;
      return `<div class="code">${label}<pre tabindex="0"><code>${escapeHtml(block.text)}</code></pre></div>`;
    }
    case "details":
      return `<details><summary>${inlineHtml(block.summary)}</summary><div class="inside">${block.blocks.map(blockHtml).join("\n")}</div></details>`;
    default:
      return assertNever(block);
  }
}

/** A canvas with its data; without the script the caption says what cannot be seen. */
function rasterHtml(block: Extract<Block, { readonly kind: "raster" }>): string {
  const caption = block.caption === undefined ? "" : paragraphsHtml(block.caption, "note");
  const names = embedJson(block.raster.rows.map(({ name }) => name));
  return (
    `<figure class="raster"><figcaption>${inlineHtml(block.title)}</figcaption>${caption}` +
    `<canvas role="img" aria-label="${escapeHtml(block.title)}"></canvas><p class="raster-told" aria-live="polite"></p>` +
    `<script type="application/octet-stream">${packRaster(block.raster)}</script>` +
    `<script type="application/json" class="raster-names">${names}</script></figure>`
  );
}

/** Key figures in a row. */
export function figuresHtml(figures: readonly KeyFigure[]): string {
  if (figures.length === 0) return "";
  return `<dl class="figures">${figures.map(figureHtml).join("")}</dl>`;
}

/** Label and value pairs in two columns. */
export function factsHtml(facts: readonly Fact[]): string {
  const rows = facts.map(
    (f) => `<div><dt>${escapeHtml(f.label)}</dt><dd>${inlineHtml(f.value)}</dd></div>`,
  );
  return `<dl class="facts">${rows.join("")}</dl>`;
}

function figureHtml(figure: KeyFigure): string {
  const unit =
    figure.unit === undefined ? "" : ` <span class="unit">${escapeHtml(figure.unit)}</span>`;
  const note = figure.note === undefined ? "" : `<dd class="sub">${inlineHtml(figure.note)}</dd>`;
  return `<div class="${figure.tone ?? "neutral"}"><dt>${escapeHtml(figure.label)}</dt><dd>${escapeHtml(figure.value)}${unit}</dd>${note}</div>`;
}

function chartHtml(chart: Figure): string {
  const caption =
    chart.caption === undefined ? "" : `<p class="note">${inlineHtml(chart.caption)}</p>`;
  return `<figure><figcaption>${inlineHtml(chart.title)}</figcaption><div class="scroll" role="group" aria-label="${escapeHtml(chart.title)}" tabindex="0">${chart.svg}</div>${caption}</figure>`;
}
