/** Checks the settings of a scheduler that come from outside while the engine runs. */
import { didYouMean, MillraceError } from "@millrace/core";
import { type SchedulerName, type SchedulerOptions, schedulers } from "@millrace/serving";

/** A scheduler and its knobs. */
export type SchedulerSettings = { readonly type: SchedulerName } & SchedulerOptions;

const wholeNumbers = [
  "chunkSize",
  "batchSizeCap",
  "maxTokensInBatch",
  "tile",
  "maxWaitingIters",
] as const;
const chunkings = ["static", "dynamic", "chunk-plus-decodes", "slo"] as const;
const dynamicKeys = ["low", "high", "stages", "maxTokens"] as const;

function invalid(what: string, hint: string): never {
  throw new MillraceError("CONFIG_INVALID", what, { hint });
}

function isSchedulerName(type: string): type is SchedulerName {
  return Object.hasOwn(schedulers, type);
}

function isChunking(value: unknown): value is SchedulerOptions["chunking"] {
  return chunkings.some((known) => known === value);
}

function whole(key: string, value: unknown): number {
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= 1) return value;
  invalid(
    `${key} is ${JSON.stringify(value)}, but must be a whole number of at least 1`,
    `give ${key} as a number of tokens or rows`,
  );
}

/**
 * `current` with another type and some knobs changed; knobs that are not named stay as they are.
 * @throws MillraceError CONFIG_INVALID that names the first unknown or impossible value.
 */
export function changedSettings(
  current: SchedulerSettings,
  type: string,
  parameters: Readonly<Record<string, unknown>>,
): SchedulerSettings {
  if (!isSchedulerName(type)) {
    const names = Object.keys(schedulers);
    const near = didYouMean(type, names);
    invalid(
      `there is no scheduler ${JSON.stringify(type)}`,
      near === null ? `known are ${names.join(", ")}` : `did you mean ${near}?`,
    );
  }
  const changed: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(parameters)) {
    if (wholeNumbers.some((known) => known === key)) changed[key] = whole(key, value);
    else if (key === "chunking") {
      if (!isChunking(value))
        invalid(
          `chunking is ${JSON.stringify(value)}`,
          `chunking is one of ${chunkings.join(", ")}`,
        );
      changed[key] = value;
    } else if (key === "targetTbt") {
      if (typeof value !== "number" || !(value > 0) || !Number.isFinite(value))
        invalid(`targetTbt is ${JSON.stringify(value)}`, "targetTbt is a time in seconds above 0");
      changed[key] = value;
    } else if (key === "dynamic") {
      if (typeof value !== "object" || value === null)
        invalid(`dynamic is ${JSON.stringify(value)}`, `dynamic has ${dynamicKeys.join(", ")}`);
      const given = new Map<string, unknown>(Object.entries(value));
      const dynamic: Record<string, number> = { ...current.dynamic };
      for (const known of dynamicKeys)
        if (given.has(known)) dynamic[known] = whole(`dynamic.${known}`, given.get(known));
      changed[key] = dynamic;
    } else {
      const known = [...wholeNumbers, "chunking", "targetTbt", "dynamic"];
      const near = didYouMean(key, known);
      invalid(
        `a scheduler has no knob ${JSON.stringify(key)}`,
        near === null ? `known are ${known.join(", ")}` : `did you mean ${near}?`,
      );
    }
  }
  return { ...current, ...changed, type };
}
