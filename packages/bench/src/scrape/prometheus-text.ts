/**
 * What a server tells of itself beside its answers: /metrics, read while a run goes on. This file: Prometheus' text format
 * (version 0.0.4, and what OpenMetrics adds to a line: exemplars, `# EOF`). Never throws: a line that is none is counted.
 */

/** One line: a name, its labels, a value. */
export interface MetricSample {
  readonly name: string;
  readonly labels: ReadonlyMap<string, string>;
  readonly value: number;
}

export interface MetricsText {
  readonly samples: readonly MetricSample[];
  /** Lines that are neither sample, comment nor blank, and the number of the first (from 1; 0 without one). */
  readonly malformed: number;
  readonly firstMalformed: number;
}

/** Longer lines are taken for none: no server writes them, and patterns have limits. */
const LONGEST = 1 << 16;

const NAME = /[A-Za-z_:][A-Za-z0-9_:]*/y;
const LABEL = /\s*([A-Za-z_][A-Za-z0-9_]*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*(,|(?=\}))/y;
const REST = /^\s*(\S+)(?:\s+-?\d+(?:\.\d+)?)?\s*(?:#.*)?$/;
const NUMBER = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?$/i;

/** Reads a whole answer. O(characters). */
export function parseMetrics(text: string): MetricsText {
  const samples: MetricSample[] = [];
  let malformed = 0;
  let firstMalformed = 0;
  text.split("\n").forEach((raw, i) => {
    const line = raw.trim();
    if (line === "" || line.startsWith("#")) return;
    const sample = line.length > LONGEST ? null : sampleOf(line);
    if (sample !== null) samples.push(sample);
    else if (malformed++ === 0) firstMalformed = i + 1;
  });
  return { samples, malformed, firstMalformed };
}

function sampleOf(line: string): MetricSample | null {
  NAME.lastIndex = 0;
  const name = NAME.exec(line)?.[0];
  if (name === undefined) return null;
  let at = NAME.lastIndex;
  while (line[at] === " " || line[at] === "\t") at++;
  const labels = new Map<string, string>();
  if (line[at] === "{") {
    const end = labelsFrom(line, at + 1, labels);
    if (end < 0) return null;
    at = end;
  } else if (at === name.length) return null;
  const value = numberOf(REST.exec(line.slice(at))?.[1] ?? "");
  return value === null ? null : { name, labels, value };
}

/** Reads `a="b",…}` into `labels`; where it ends, or -1. */
function labelsFrom(line: string, from: number, labels: Map<string, string>): number {
  let at = from;
  for (;;) {
    LABEL.lastIndex = at;
    const found = LABEL.exec(line);
    if (found === null) break;
    labels.set(found[1] as string, unescaped(found[2] as string));
    at = LABEL.lastIndex;
  }
  while (line[at] === " ") at++;
  return line[at] === "}" ? at + 1 : -1;
}

function unescaped(text: string): string {
  return text.replace(/\\(.)/g, (_, c: string) => (c === "n" ? "\n" : c));
}

function numberOf(text: string): number | null {
  if (NUMBER.test(text)) return Number(text);
  if (/^nan$/i.test(text)) return Number.NaN;
  const infinite = /^([+-]?)inf(?:inity)?$/i.exec(text);
  if (infinite === null) return null;
  return infinite[1] === "-" ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
}
