/**
 * Cost of a step, measured: the profile that the engine writes on one's own machine and that the simulator predicts
 * from. Format `millrace.profile/1`: JSON, seconds and tokens, one point per kind of batch.
 */
import { MillraceError } from "@millrace/core";
import { JITTER_GROUPS, type StepJitter } from "./jitter.ts";
import type { StepWork } from "./step-work.ts";

export const STEP_PROFILE_SCHEMA = "millrace.profile/1";

/** A batch that was run and how long it took. */
export interface StepPoint extends StepWork {
  /** Seconds of the whole step on an undisturbed machine, > 0. */
  readonly seconds: number;
  /** Times it was measured, >= 1. */
  readonly repeats: number;
}

/**
 * What steps take inside a serving engine on top of the same batches in a tight loop: planning, sampling, messages, and
 * memory and caches that are shared with the server's other work. Measured under load; absent = not measured.
 */
export interface LoopCost {
  /** Factors on the whole time of steps of decodes alone, and of steps with chunks, by their tokens: see LOOP_BUCKETS. */
  readonly decode: readonly number[];
  readonly prefill: readonly number[];
  /** Seconds of every step, of one of decodes alone whose rows are not those before, of every decode row, chunk, page order. */
  readonly step: number;
  readonly freshDecode: number;
  /** Share by which the computation of steps with chunks takes longer. */
  readonly prefillShare: number;
  readonly decodeRow: number;
  readonly prefillRow: number;
  readonly mapped: number;
  /** Steps it was fitted to. */
  readonly steps: number;
  /** How single steps scatter around their time; null = not known, every step takes its mean. */
  readonly jitter: StepJitter | null;
}

/** Tokens up to which each factor of LoopCost holds; the last holds for all above. */
export const LOOP_BUCKETS = {
  decode: [1, 2, 3, 4, 6, 8, 12, 16, 32],
  prefill: [32, 63, 127, 191, 255],
} as const;

/** What a client sees on top of the engine: HTTP, tokenisation, messages between processes. Absent = not measured. */
export interface TransportCost {
  /** Seconds from a request's start to its offer to the scheduler, and more of it per prompt token. */
  readonly arrival: number;
  readonly arrivalPerToken: number;
  /** Seconds from the end of a step to the arrival of its token. */
  readonly delivery: number;
  /** Seconds by which single requests and single tokens deviate from that, at even ranks from 0 to 1; [0] = not at all. */
  readonly arrivalSpread: readonly number[];
  readonly deliverySpread: readonly number[];
  /**
   * Ranks (0 … 1000) within deliverySpread of tokens that followed each other in their streams: a late token is mostly followed by
   * a late one, which leaves the time between them as it was. Empty = not known, every token is late for itself.
   */
  readonly deliveryRanks: readonly number[];
  /** Tokens that the server adds to each prompt, such as a begin token. */
  readonly addedTokens: number;
  /** Requests it was fitted to. */
  readonly requests: number;
}

/** What the cost of a decoder depends on. */
export interface StepGeometry {
  readonly layers: number;
  /** Heads times their width: what attention computes per pair of query and key. */
  readonly attentionWidth: number;
  /** Weights of the matrices of all layers, and of the one that gives logits. */
  readonly layerParameters: number;
  readonly headParameters: number;
  /** Format that most weights are stored in, e.g. q8_0. */
  readonly format: string;
}

/** One operator inside a step, for breakdowns: seconds at a number of tokens. */
export interface OperatorPoint {
  readonly operator: string;
  readonly tokens: number;
  readonly seconds: number;
}

/** From and to, tokens. */
export interface SeenLengths {
  readonly promptTokens: readonly [number, number];
  readonly outputTokens: readonly [number, number];
}

/** `millrace.profile/1`. */
export interface StepProfile {
  readonly schema: typeof STEP_PROFILE_SCHEMA;
  readonly model: string;
  /** Processor or accelerator, as the operating system names it. */
  readonly machine: string;
  readonly threads: number;
  /** Engine and version. */
  readonly engine: string;
  /** ISO 8601. */
  readonly date: string;
  readonly units: { readonly time: "s"; readonly length: "token" };
  /** Query rows of one tile of the attention kernel; 1 = chunks of all lengths are computed alike. */
  readonly tileTokens: number;
  /** The decoder that was measured; null = not known, as of servers that only show their tokens. */
  readonly geometry: StepGeometry | null;
  readonly points: readonly StepPoint[];
  readonly operators: readonly OperatorPoint[];
  readonly loop: LoopCost | null;
  readonly transport: TransportCost | null;
  /** Share by which all step times together may be off, nine times in ten; absent = not known. */
  readonly uncertainty?: number;
  /** The same of requests whose lengths are not like those it was fitted to; absent = not known. */
  readonly uncertaintyBeyond?: number;
  /** Cores that others kept busy meanwhile, mean of the part of its measurement with most; absent = not known. */
  readonly foreignCores?: number;
  /** Lengths of the requests it was fitted to, without the lowest and highest hundredth; absent = it was measured in batches. */
  readonly seen?: SeenLengths;
}

/** Points below which nothing can be regressed. */
const FEWEST_POINTS = 4;

/** Reads and checks the text of a profile. Throws PROFILE_INVALID naming file and key. */
export function parseStepProfile(text: string, file: string): StepProfile {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw invalid(file, `not valid JSON (${(cause as Error).message})`);
  }
  return checkStepProfile(json, file);
}

/** The same for a value that is already parsed. */
export function checkStepProfile(json: unknown, file: string): StepProfile {
  const at = object(json, "the file", file);
  if (at.schema !== STEP_PROFILE_SCHEMA)
    throw invalid(file, `schema is ${JSON.stringify(at.schema)}, not "${STEP_PROFILE_SCHEMA}"`);
  const text = (key: string): string => {
    const value = at[key];
    if (typeof value !== "string" || value === "") throw invalid(file, `${key} is not a text`);
    return value;
  };
  const units = object(at.units, "units", file);
  if (units.time !== "s" || units.length !== "token")
    throw invalid(file, 'units must be { "time": "s", "length": "token" }');
  const points = list(at.points, "points", file).map((p, i) => point(p, `points[${i}]`, file));
  if (points.length < FEWEST_POINTS)
    throw invalid(
      file,
      `points has ${points.length} entries; at least ${FEWEST_POINTS} are needed`,
    );
  const operators = list(at.operators ?? [], "operators", file).map((p, i) =>
    operator(p, `operators[${i}]`, file),
  );
  if (Number.isNaN(Date.parse(text("date"))))
    throw invalid(file, `date ${text("date")} is no date`);
  return {
    schema: STEP_PROFILE_SCHEMA,
    model: text("model"),
    machine: text("machine"),
    threads: number(at.threads, "threads", file, 1, true),
    engine: text("engine"),
    date: text("date"),
    units: { time: "s", length: "token" },
    tileTokens: number(at.tileTokens ?? 1, "tileTokens", file, 1, true),
    geometry: geometry(at.geometry, file),
    points,
    operators,
    loop: loop(at.loop, file),
    transport: transport(at.transport, file),
    ...optional(at, "uncertainty", (value) => number(value, "uncertainty", file, 0, false)),
    ...optional(at, "uncertaintyBeyond", (value) =>
      number(value, "uncertaintyBeyond", file, 0, false),
    ),
    ...optional(at, "foreignCores", (value) => number(value, "foreignCores", file, 0, false)),
    ...optional(at, "seen", (value) => seenLengths(value, file)),
  };
}

type Json = Readonly<Record<string, unknown>>;

function point(json: unknown, key: string, file: string): StepPoint {
  const at = object(json, key, file);
  const count = (name: string): number => number(at[name] ?? 0, `${key}.${name}`, file, 0, true);
  const pairs = (name: string, otherwise: number): number =>
    number(at[name] ?? otherwise, `${key}.${name}`, file, 0, false);
  const prefillPairs = pairs("prefillPairs", 0);
  const out: StepPoint = {
    prefillTokens: count("prefillTokens"),
    prefillRows: count("prefillRows"),
    prefillPairs,
    tilePairs: pairs("tilePairs", prefillPairs),
    shortPairs: pairs("shortPairs", 0),
    decodeRows: count("decodeRows"),
    decodeContext: count("decodeContext"),
    outputs: number(
      at.outputs ?? count("prefillRows") + count("decodeRows"),
      `${key}.outputs`,
      file,
      0,
      true,
    ),
    mapped: count("mapped"),
    fresh: count("fresh"),
    seconds: positive(at.seconds, `${key}.seconds`, file),
    repeats: number(at.repeats ?? 1, `${key}.repeats`, file, 1, true),
  };
  if (out.prefillTokens + out.decodeRows === 0) throw invalid(file, `${key} computes no tokens`);
  if (out.prefillRows > out.prefillTokens || (out.prefillTokens > 0 && out.prefillRows === 0))
    throw invalid(file, `${key} has ${out.prefillTokens} tokens in ${out.prefillRows} chunks`);
  if (out.outputs > out.prefillRows + out.decodeRows)
    throw invalid(file, `${key} has more outputs than rows`);
  if (out.decodeContext < out.decodeRows)
    throw invalid(file, `${key}.decodeContext is less than its ${out.decodeRows} rows`);
  return out;
}

const LOOP_KEYS = [
  "step",
  "freshDecode",
  "prefillShare",
  "decodeRow",
  "prefillRow",
  "mapped",
  "steps",
] as const;
const TRANSPORT_KEYS = ["arrival", "arrivalPerToken", "delivery", "requests"] as const;

function loop(json: unknown, file: string): LoopCost | null {
  const sums = part<LoopCost>(json, "loop", LOOP_KEYS, file);
  if (sums === null) return null;
  const at = object(json, "loop", file);
  const factors = (name: keyof typeof LOOP_BUCKETS): readonly number[] => {
    const given = list(at[name], `loop.${name}`, file);
    const count = LOOP_BUCKETS[name].length + 1;
    if (given.length !== count)
      throw invalid(file, `loop.${name} has ${given.length} factors, not ${count}`);
    return given.map((value, i) => number(value, `loop.${name}[${i}]`, file, 0, false));
  };
  return {
    ...sums,
    decode: factors("decode"),
    prefill: factors("prefill"),
    jitter: jitter(at.jitter, file),
  };
}

/** Profiles of before have none. */
function jitter(json: unknown, file: string): StepJitter | null {
  if (json === undefined || json === null) return null;
  const at = object(json, "loop.jitter", file);
  const numbers = (value: unknown, key: string): readonly number[] => {
    const given = list(value, key, file);
    if (given.length === 0) throw invalid(file, `${key} is empty`);
    return given.map((one, i) => number(one, `${key}[${i}]`, file, 0, false));
  };
  const groups = list(at.factors, "loop.jitter.factors", file);
  if (groups.length !== JITTER_GROUPS)
    throw invalid(file, `loop.jitter.factors has ${groups.length} groups, not ${JITTER_GROUPS}`);
  const order = ranks(at.ranks, "loop.jitter.ranks", file);
  if (order.length === 0) throw invalid(file, "loop.jitter.ranks is empty");
  return {
    factors: groups.map((group, i) => numbers(group, `loop.jitter.factors[${i}]`)),
    ranks: order,
  };
}

/** Ranks of what was seen, 0 … 1000. */
function ranks(value: unknown, key: string, file: string): readonly number[] {
  return list(value, key, file).map((one, i) => {
    const rank = number(one, `${key}[${i}]`, file, 0, false);
    if (rank > 1000) throw invalid(file, `${key} exceed 1000`);
    return rank;
  });
}

function transport(json: unknown, file: string): TransportCost | null {
  const sums = part<TransportCost>(json, "transport", TRANSPORT_KEYS, file);
  if (sums === null) return null;
  const at = object(json, "transport", file);
  const spread = (name: "arrivalSpread" | "deliverySpread"): readonly number[] => {
    const given = list(at[name] ?? [0], `transport.${name}`, file);
    if (given.length === 0 || !given.every((x) => typeof x === "number" && Number.isFinite(x)))
      throw invalid(file, `transport.${name} is no list of numbers`);
    return given as readonly number[];
  };
  return {
    ...sums,
    addedTokens: number(at.addedTokens ?? 0, "transport.addedTokens", file, 0, true),
    arrivalSpread: spread("arrivalSpread"),
    deliverySpread: spread("deliverySpread"),
    deliveryRanks: ranks(at.deliveryRanks ?? [], "transport.deliveryRanks", file),
  };
}

/** An object of numbers from 0 on, or null where there is none. */
function part<T>(json: unknown, key: string, keys: readonly (keyof T & string)[], file: string) {
  if (json === undefined || json === null) return null;
  const at = object(json, key, file);
  return Object.fromEntries(
    keys.map((name) => [name, number(at[name], `${key}.${name}`, file, 0, false)]),
  ) as unknown as T;
}

function geometry(json: unknown, file: string): StepGeometry | null {
  if (json === undefined || json === null) return null;
  const at = object(json, "geometry", file);
  const count = (key: keyof StepGeometry): number =>
    number(at[key], `geometry.${key}`, file, 1, true);
  if (typeof at.format !== "string") throw invalid(file, "geometry.format is not a text");
  return {
    layers: count("layers"),
    attentionWidth: count("attentionWidth"),
    layerParameters: count("layerParameters"),
    headParameters: count("headParameters"),
    format: at.format,
  };
}

/** What a profile may lack, read where it is there. */
function optional<K extends string, T>(
  at: Json,
  key: K,
  read: (value: unknown) => T,
): { readonly [key in K]?: T } {
  return at[key] === undefined ? {} : ({ [key]: read(at[key]) } as { readonly [key in K]: T });
}

function seenLengths(json: unknown, file: string): SeenLengths {
  const at = object(json, "seen", file);
  const range = (name: keyof SeenLengths): readonly [number, number] => {
    const given = list(at[name], `seen.${name}`, file);
    if (given.length !== 2) throw invalid(file, `seen.${name} is not from and to`);
    const [from, to] = given.map((x, i) => number(x, `seen.${name}[${i}]`, file, 0, false));
    return [from as number, to as number];
  };
  return { promptTokens: range("promptTokens"), outputTokens: range("outputTokens") };
}

function operator(json: unknown, key: string, file: string): OperatorPoint {
  const at = object(json, key, file);
  if (typeof at.operator !== "string" || at.operator === "")
    throw invalid(file, `${key}.operator is not a text`);
  return {
    operator: at.operator,
    tokens: number(at.tokens, `${key}.tokens`, file, 1, true),
    seconds: positive(at.seconds, `${key}.seconds`, file),
  };
}

function object(value: unknown, key: string, file: string): Json {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw invalid(file, `${key} is not an object`);
  return value as Json;
}

function list(value: unknown, key: string, file: string): readonly unknown[] {
  if (!Array.isArray(value)) throw invalid(file, `${key} is not a list`);
  return value;
}

function number(value: unknown, key: string, file: string, least: number, whole: boolean): number {
  const good = typeof value === "number" && Number.isFinite(value) && value >= least;
  if (!good || (whole && !Number.isInteger(value)))
    throw invalid(
      file,
      `${key} is ${JSON.stringify(value)}, not a ${whole ? "whole " : ""}number of at least ${least}`,
    );
  return value;
}

function positive(value: unknown, key: string, file: string): number {
  const seconds = number(value, key, file, 0, false);
  if (seconds === 0) throw invalid(file, `${key} is 0; a measured time is positive`);
  return seconds;
}

function invalid(file: string, problem: string): MillraceError {
  return new MillraceError("PROFILE_INVALID", `${file}: ${problem}`, {
    hint: "Measure again: the engine writes profiles in the format millrace.profile/1.",
    at: { file },
  });
}
