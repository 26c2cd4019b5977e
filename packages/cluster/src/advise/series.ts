/**
 * Samples of metrics, however Prometheus gave them away: the text format of an endpoint or of /federate, OpenMetrics with
 * many samples per series, or the JSON of its query interface.
 */
import { MillraceError } from "@millrace/core";
import type { Skipped } from "./use.ts";

/** One metric with one set of labels over time, ascending. */
export interface Series {
  readonly name: string;
  readonly labels: ReadonlyMap<string, string>;
  /** Seconds since the epoch. */
  readonly times: readonly number[];
  readonly values: readonly number[];
}

interface Growing {
  readonly name: string;
  readonly labels: ReadonlyMap<string, string>;
  readonly points: (readonly [number, number])[];
}

/** The series of a file. Lines that are none are skipped with their number; throws JOBS_INVALID when nothing is left. */
export function parseSeries(
  text: string,
  file: string,
): { readonly series: readonly Series[]; readonly skipped: readonly Skipped[] } {
  const skipped: Skipped[] = [];
  const found = new Map<string, Growing>();
  const body = text.replace(/^\uFEFF/, "");
  if (/^\s*[[{]/.test(body)) readJson(body, found, skipped);
  else readText(body, found, skipped);
  if (found.size === 0)
    throw new MillraceError("JOBS_INVALID", `no sample of a metric was found in ${file}`, {
      at: { file, line: skipped[0]?.line ?? 1 },
      hint: skipped[0]?.reason ?? "millrace cluster advise --help shows the query to run",
    });
  const series = [...found.values()].map(({ name, labels, points }): Series => {
    points.sort((a, b) => a[0] - b[0]);
    return { name, labels, times: points.map((p) => p[0]), values: points.map((p) => p[1]) };
  });
  return { series, skipped };
}

function add(
  found: Map<string, Growing>,
  name: string,
  labels: ReadonlyMap<string, string>,
  at: number,
  value: number,
): void {
  const key = `${name}\n${[...labels]
    .map(([k, v]) => `${k}=${v}`)
    .sort()
    .join("\n")}`;
  let series = found.get(key);
  if (series === undefined) {
    series = { name, labels, points: [] };
    found.set(key, series);
  }
  series.points.push([at, value]);
}

const sample = /^([a-zA-Z_:][\w:]*)(\{.*\})?\s+(\S+)(?:\s+(-?[\d.eE+]+))?(?:\s+#.*)?\s*$/;

function readText(text: string, found: Map<string, Growing>, skipped: Skipped[]): void {
  text.split(/\r?\n/).forEach((line, i) => {
    if (line.trim() === "" || line.startsWith("#")) return;
    const match = sample.exec(line);
    const labels = labelsOf(match?.[2] ?? "");
    const value = Number(match?.[3]?.replace(/^\+?Inf$/, "Infinity") ?? "x");
    if (match === null || labels === null) {
      skipped.push({ line: i + 1, reason: 'no sample: name{label="value"} number' });
      return;
    }
    // NaN is how Prometheus marks a series that ended.
    if (!Number.isFinite(value)) return;
    const at = Number(match[4] ?? 0);
    // Milliseconds in the text format, seconds in OpenMetrics; both begin in 1970.
    add(found, match[1] as string, labels, at > 1e11 ? at / 1000 : at, value);
  });
}

/** Labels between braces, escapes undone; null when they are malformed. */
function labelsOf(braces: string): ReadonlyMap<string, string> | null {
  const labels = new Map<string, string>();
  let rest = braces === "" ? "" : braces.slice(1, -1).trim();
  while (rest !== "") {
    const match = /^([a-zA-Z_]\w*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*(?:,\s*|$)/.exec(rest);
    if (match === null) return null;
    const [whole, name = "", value = ""] = match;
    labels.set(
      name,
      value.replace(/\\(.)/g, (_, c: string) => (c === "n" ? "\n" : c)),
    );
    rest = rest.slice(whole.length);
  }
  return labels;
}

/** One answer of the query interface, several after one another, or bare results as promtool prints them. */
function readJson(text: string, found: Map<string, Growing>, skipped: Skipped[]): void {
  for (const { value, line } of documents(text, skipped)) {
    const answer = value as {
      readonly status?: unknown;
      readonly error?: unknown;
      readonly data?: { readonly result?: unknown };
    } | null;
    if (answer !== null && answer.status === "error") {
      skipped.push({ line, reason: `Prometheus answered: ${String(answer.error)}` });
      continue;
    }
    const results = Array.isArray(value) ? value : answer?.data?.result;
    if (!Array.isArray(results)) {
      skipped.push({ line, reason: "no answer of a query: data.result is missing" });
      continue;
    }
    for (const result of results) addResult(result, line, found, skipped);
  }
}

/** The JSON texts of a file: one as a whole, else one per line. */
function documents(
  text: string,
  skipped: Skipped[],
): readonly { readonly value: unknown; readonly line: number }[] {
  try {
    return [{ value: JSON.parse(text) as unknown, line: 1 }];
  } catch (error) {
    const lines = text.split(/\r?\n/);
    if (lines.filter((line) => line.trim() !== "").length < 2) {
      skipped.push({ line: 1, reason: `not JSON: ${(error as Error).message}` });
      return [];
    }
    return lines.flatMap((line, i) => {
      if (line.trim() === "") return [];
      try {
        return [{ value: JSON.parse(line) as unknown, line: i + 1 }];
      } catch (lineError) {
        skipped.push({ line: i + 1, reason: `not JSON: ${(lineError as Error).message}` });
        return [];
      }
    });
  }
}

function addResult(
  result: unknown,
  line: number,
  found: Map<string, Growing>,
  skipped: Skipped[],
): void {
  const { metric, value, values } = (result ?? {}) as Record<string, unknown>;
  const points = Array.isArray(values) ? values : Array.isArray(value) ? [value] : [];
  if (typeof metric !== "object" || metric === null || points.length === 0) {
    skipped.push({ line, reason: "a result without metric or values" });
    return;
  }
  const labels = new Map(Object.entries(metric).map(([k, v]) => [k, String(v)]));
  const name = labels.get("__name__");
  labels.delete("__name__");
  if (name === undefined) {
    const reason =
      "a series without its metric's name: query the metrics themselves, not rate() or sum() of them";
    if (!skipped.some((s) => s.line === line && s.reason === reason))
      skipped.push({ line, reason });
    return;
  }
  for (const point of points) {
    const [at, number] = Array.isArray(point) ? point.map(Number) : [];
    if (Number.isFinite(at) && Number.isFinite(number))
      add(found, name, labels, at as number, number as number);
  }
}
