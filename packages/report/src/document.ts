/**
 * A report as plain data: what it says, not how it looks. `renderReport` makes one HTML file of it and `renderMarkdown`
 * a text; `planReport`, `simulationReport` and `reproduceReport` write documents from results.
 * Prose, notes and headlines may set names as code between backticks; every other string is printed as it is.
 */
import type { NumberFormat } from "./format.ts";
import type { Raster } from "./html/raster.ts";

/** How something is meant; colours follow from it. */
export type Tone = "neutral" | "good" | "bad" | "warning";

/** A number that answers a question, with what it counts. */
export interface KeyFigure {
  readonly label: string;
  /** Formatted for people, without unit. */
  readonly value: string;
  readonly unit?: string;
  /** One short line below, e.g. the interval or the limit. */
  readonly note?: string;
  readonly tone?: Tone;
}

/** The answer in one sentence, and the figures that carry it. */
export interface Verdict {
  readonly tone: Tone;
  readonly headline: string;
  readonly detail?: string;
  readonly figures: readonly KeyFigure[];
}

/** A line of "made with": seed, version, model. */
export interface Fact {
  readonly label: string;
  readonly value: string;
}

/** A column of a table. Number columns are right-aligned and may carry bars that compare the rows. */
export interface Column {
  readonly header: string;
  readonly kind: "text" | "code" | "number" | "check";
  readonly format?: NumberFormat;
  /** Printed once, in the header. */
  readonly unit?: string;
  /** Draws a bar from 0 behind each number: true scales it to the largest of the column, a number to that value. */
  readonly bar?: boolean | number;
}

/** An estimate with its interval. */
export interface IntervalCell {
  readonly value: number;
  readonly low: number;
  readonly high: number;
}

/** A value with a verdict on it. */
export interface LimitCell {
  readonly value: number | string;
  readonly met: boolean;
}

/** Words with a quieter second line. */
export interface TextCell {
  readonly text: string;
  readonly note: string;
}

/** What stands in a table; null and NaN print as a dash, booleans as tick and cross. */
export type Cell = string | number | boolean | null | TextCell | IntervalCell | LimitCell;

/** One line of a table, aligned with the columns. */
export interface Row {
  readonly cells: readonly Cell[];
  /** The row that the text is about. */
  readonly emphasis?: boolean;
}

export interface TableBlock {
  readonly kind: "table";
  readonly caption?: string;
  readonly columns: readonly Column[];
  readonly rows: readonly Row[];
  readonly note?: string;
}

/** A drawn chart: SVG text of this package's charts, which is trusted and written as it is. */
export interface Figure {
  readonly title: string;
  readonly svg: string;
  readonly caption?: string;
}

/** What a section is made of. */
export type Block =
  | { readonly kind: "prose"; readonly text: string }
  | { readonly kind: "note"; readonly text: string }
  | { readonly kind: "list"; readonly items: readonly string[] }
  | { readonly kind: "figures"; readonly figures: readonly KeyFigure[] }
  | { readonly kind: "facts"; readonly facts: readonly Fact[] }
  | TableBlock
  | { readonly kind: "charts"; readonly columns: 1 | 2; readonly charts: readonly Figure[] }
  | {
      readonly kind: "callout";
      readonly tone: Tone;
      readonly title: string;
      readonly items: readonly string[];
    }
  | {
      readonly kind: "raster";
      readonly title: string;
      readonly caption?: string;
      readonly raster: Raster;
    }
  | { readonly kind: "code"; readonly label?: string; readonly text: string }
  | { readonly kind: "details"; readonly summary: string; readonly blocks: readonly Block[] };

/** A headed part of a report; `id` is the anchor, lower case letters, digits and dashes. */
export interface Section {
  readonly id: string;
  readonly heading: string;
  /** Shorter form for the table of contents. */
  readonly short?: string;
  readonly blocks: readonly Block[];
}

/** A whole report. */
export interface ReportDocument {
  /** What it is a report of, e.g. "Deployment plan". */
  readonly kind: string;
  readonly title: string;
  readonly subtitle?: string;
  /** The command that made it, as typed. */
  readonly command?: string;
  readonly madeWith: readonly Fact[];
  readonly verdict: Verdict;
  readonly sections: readonly Section[];
  /** Last line of the page; default says that figures are simulated unless they say measured. */
  readonly footnote?: string;
  /** Embedded as JSON, for other programs; undefined embeds nothing. */
  readonly data?: unknown;
}
