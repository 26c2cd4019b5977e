/**
 * From Observable Plot to one static SVG text: panels below one another, a legend, a title and a description.
 * The only file that touches the DOM; nothing here depends on the machine, so equal data give equal bytes.
 */
import { type PlotOptions, plot } from "@observablehq/plot";
import { parseHTML } from "linkedom";
import { clean, escapeHtml, shorten } from "../text.ts";
import { role } from "./palette.ts";

/** What every chart may be told. */
export interface ChartFrame {
  /** Read out by screen readers and shown as the figure's heading in reports. */
  readonly title: string;
  /** One sentence on what the chart shows, for readers who cannot see it. */
  readonly description?: string;
  /** Pixels; a report shows full-width charts at 880 and half-width ones at 428. */
  readonly width?: number;
}

/** A key of the legend. */
export interface LegendItem {
  readonly label: string;
  readonly colour: string;
  readonly shape: "line" | "dash" | "square" | "dot" | "ring";
}

/** One plot of a chart. */
export interface Panel {
  readonly heading?: string;
  readonly height: number;
  readonly plot: PlotOptions;
}

/** Width of a chart that fills a report's column, and of one that shares it with another. */
export const FULL_WIDTH = 880;
export const HALF_WIDTH = 428;

const FONT = 12;
const LEGEND_ROW = 22;
const HEADING = 20;

// What is used of the DOM; the compiler's own DOM types are for browsers and stay out of this package.
interface DrawnElement {
  getAttribute(name: string): string | null;
  setAttribute(name: string, value: string): void;
  removeAttribute(name: string): void;
  remove(): void;
  querySelector(selector: string): DrawnElement | null;
  querySelectorAll(selector: string): Iterable<DrawnElement>;
  readonly outerHTML: string;
}

let page: ReturnType<typeof parseHTML>["document"] | undefined;

/** A document for Plot to build in; one for the process, made when the first chart is drawn. */
function drawingDocument(): NonNullable<typeof page> {
  page ??= parseHTML("<!doctype html><html><body></body></html>").document;
  return page;
}

/** Draws panels under a legend; returns `<svg>…</svg>`. */
export function drawChart(
  frame: ChartFrame & { readonly width: number },
  panels: readonly Panel[],
  legend: readonly LegendItem[] = [],
): string {
  const keys = layLegend(legend, frame.width);
  let y = keys.height;
  let body = keys.svg;
  for (const panel of panels) {
    if (panel.heading !== undefined) {
      body += `<text x="0" y="${y + 13}" font-weight="600" fill="${role("ink")}">${escapeHtml(shorten(panel.heading, 80))}</text>`;
      y += HEADING;
    }
    body += drawPanel(panel, frame.width, y);
    y += panel.height;
  }
  const title = escapeHtml(frame.title);
  const description =
    frame.description === undefined ? "" : `<desc>${escapeHtml(frame.description)}</desc>`;
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="${title}" viewBox="0 0 ${frame.width} ${y}" width="${frame.width}" height="${y}"` +
    ` font-size="${FONT}" font-family="system-ui, sans-serif" fill="${role("muted")}"><title>${title}</title>${description}${body}</svg>`
  );
}

/** What is drawn when there is nothing to draw. */
export function emptyChart(frame: ChartFrame & { readonly width: number }, reason: string): string {
  const title = escapeHtml(frame.title);
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="${title}" viewBox="0 0 ${frame.width} 80" width="${frame.width}" height="80"` +
    ` font-size="${FONT}" font-family="system-ui, sans-serif" fill="${role("muted")}"><title>${title}</title>` +
    `<rect x="0.5" y="0.5" width="${frame.width - 1}" height="79" rx="6" fill="none" stroke="${role("grid")}"/>` +
    `<text x="${frame.width / 2}" y="44" text-anchor="middle">${escapeHtml(reason)}</text></svg>`
  );
}

/** A label of data for a chart: printable and at most `length` characters. */
export function chartLabel(text: string, length = 40): string {
  return shorten(clean(text).replace(/\s+/g, " "), length);
}

/** Rough width of a label in pixels, for margins; chart text is not measured. */
export function labelWidth(text: string): number {
  let width = 0;
  for (const c of text) width += c.charCodeAt(0) < 128 ? (/[A-Zmw@%]/.test(c) ? 9 : 7) : 11;
  return width;
}

function drawPanel(panel: Panel, width: number, y: number): string {
  const drawn: DrawnElement = plot({
    ...panel.plot,
    document: drawingDocument(),
    width,
    height: panel.height,
    className: "mr-plot",
    style: { overflow: "visible", fontSize: `${FONT}px` },
  });
  drawn.querySelector("style")?.remove();
  for (const name of ["viewBox", "class", "style", "font-family", "font-size"])
    drawn.removeAttribute(name);
  drawn.setAttribute("y", String(y));
  for (const element of drawn.querySelectorAll("*")) roundNumbers(element);
  return drawn.outerHTML;
}

const geometry = [
  "d",
  "transform",
  "x",
  "y",
  "x1",
  "x2",
  "y1",
  "y2",
  "width",
  "height",
  "cx",
  "cy",
  "r",
];

/** A tenth of a pixel is enough, and a third of the bytes. */
function roundNumbers(element: DrawnElement): void {
  for (const name of geometry) {
    const value = element.getAttribute(name);
    if (value?.includes("."))
      element.setAttribute(
        name,
        value.replace(/-?\d+\.\d+(?![\dem])/g, (n) => String(Math.round(Number(n) * 10) / 10)),
      );
  }
}

function layLegend(items: readonly LegendItem[], width: number): { svg: string; height: number } {
  if (items.length === 0) return { svg: "", height: 4 };
  let x = 0;
  let row = 0;
  let svg = "";
  for (const item of items) {
    const label = chartLabel(item.label, 44);
    const needed = 22 + labelWidth(label) + 14;
    if (x > 0 && x + needed > width) {
      x = 0;
      row++;
    }
    const y = row * LEGEND_ROW + 10;
    svg += `${legendKey(item, x, y)}<text x="${x + 22}" y="${y + 4}">${escapeHtml(label)}</text>`;
    x += Math.ceil(needed);
  }
  return { svg, height: (row + 1) * LEGEND_ROW + 6 };
}

function legendKey(item: LegendItem, x: number, y: number): string {
  const { colour } = item;
  switch (item.shape) {
    case "line":
      return `<path d="M${x},${y}h16" stroke="${colour}" stroke-width="2"/>`;
    case "dash":
      return `<path d="M${x},${y}h16" stroke="${colour}" stroke-width="1.5" stroke-dasharray="4 3"/>`;
    case "square":
      return `<rect x="${x + 2}" y="${y - 5}" width="11" height="11" rx="2" fill="${colour}"/>`;
    case "dot":
      return `<circle cx="${x + 8}" cy="${y}" r="4" fill="${colour}"/>`;
    case "ring":
      return `<circle cx="${x + 8}" cy="${y}" r="5" fill="none" stroke="${colour}" stroke-width="1.8"/>`;
  }
}
