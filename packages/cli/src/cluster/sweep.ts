/** Sweeps of a comparison: every combination of the values of some flags. */
import { MillraceError, suggestion } from "@millrace/core";
import type { ClusterFlags } from "./flags.ts";

/** What can be swept, by the name of its flag: how a value is read. */
const axes = {
  rate: { key: "rate", read: number },
  "restart-cost": { key: "restartCost", read: number },
  "refill-cost": { key: "refillCost", read: number },
  "span-factor": { key: "spanFactor", read: number },
  "profile-error": { key: "profileError", read: number },
  round: { key: "round", read: number },
  starvation: { key: "starvation", read: number },
  servers: { key: "servers", read: positive },
  "gpus-per-server": { key: "gpusPerServer", read: positive },
  "cpus-per-server": { key: "cpusPerServer", read: positive },
  "memory-per-server": { key: "memoryPerServer", read: number },
  mix: { key: "mix", read: mix },
  datasets: { key: "datasets", read: positive },
  "gpu-counts": { key: "gpuCounts", read: oneOf("single", "multi", "philly") },
  arrivals: { key: "arrivals", read: oneOf("poisson", "static", "philly") },
  placement: { key: "placement", read: oneOf("consolidate", "none") },
  decisions: { key: "decisions", read: oneOf("rounds", "events") },
  resize: { key: "resize", read: oneOf("live", "restart") },
  refine: { key: "refine", read: (text) => oneOf("on", "off")(text) === "on" },
} as const satisfies Record<
  string,
  { readonly key: keyof ClusterFlags; readonly read: (text: string) => unknown }
>;

type Axis = keyof typeof axes;

/** One combination: flags to put over the others, and how it is called. */
export interface SweepPoint {
  readonly label: string;
  readonly settings: Readonly<Record<string, string>>;
  readonly flags: Partial<ClusterFlags>;
}

/** The combinations of `name=v1,v2,…` texts; one without a label when there are none. Throws USAGE. */
export function sweepPoints(texts: readonly string[]): readonly SweepPoint[] {
  let points: readonly SweepPoint[] = [{ label: "", settings: {}, flags: {} }];
  const seen = new Set<string>();
  for (const text of texts) {
    const [name = "", list = ""] = text.split(/=(.*)/s);
    if (!isAxis(name) || list === "")
      throw new MillraceError("USAGE", `--sweep ${text}: expected name=value,value,…`, {
        hint: suggestion(name, Object.keys(axes)) ?? `names are ${Object.keys(axes).join(", ")}`,
      });
    if (seen.has(name)) throw new MillraceError("USAGE", `--sweep ${name} is given twice`);
    seen.add(name);
    const { key, read } = axes[name];
    const values = list.split(",").map((value) => value.trim());
    points = points.flatMap((point) =>
      values.map((value) => ({
        label: [point.label, `${name} ${value}`].filter((part) => part !== "").join(", "),
        settings: { ...point.settings, [name]: value },
        flags: { ...point.flags, [key]: readValue(read, name, value) },
      })),
    );
  }
  return points;
}

function readValue(read: (text: string) => unknown, name: string, value: string): unknown {
  const found = read(value);
  if (found !== undefined) return found;
  throw new MillraceError("USAGE", `--sweep ${name}: ${JSON.stringify(value)} is no value of it`, {
    hint: `as in --${name}`,
  });
}

function isAxis(name: string): name is Axis {
  return Object.hasOwn(axes, name);
}

function number(text: string): number | undefined {
  const value = Number(text);
  return text !== "" && Number.isFinite(value) && value >= 0 ? value : undefined;
}

function positive(text: string): number | undefined {
  const value = Number(text);
  return Number.isSafeInteger(value) && value >= 1 ? value : undefined;
}

function oneOf<T extends string>(...values: readonly T[]): (text: string) => T | undefined {
  return (text) => values.find((value) => value === text);
}

function mix(text: string): readonly [number, number, number] | undefined {
  const [image, language, speech, ...more] = text.split(":").map(Number);
  if (more.length > 0 || [image, language, speech].some((part) => !((part ?? -1) >= 0)))
    return undefined;
  return [image ?? 0, language ?? 0, speech ?? 0];
}
