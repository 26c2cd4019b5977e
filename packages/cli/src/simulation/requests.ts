/** The requests of a run: a trace as it is, or a workload drawn from its description. */
import { existsSync } from "node:fs";
import { MillraceError } from "@millrace/core";
import { parseConfig } from "@millrace/core/config";
import { readTextFile } from "@millrace/core/node";
import {
  builtInShapes,
  generateWorkload,
  type RequestTable,
  readLengths,
  readTraceCsv,
  tracePaths,
  type WorkloadInputs,
  type WorkloadSpec,
} from "@millrace/serving";
import type { ModelSpec } from "@millrace/sim";
import { finite, resolveWorkload, type WorkloadInput, workloadShape } from "@millrace/sim/config";

/** Requests, and in a few words what they are. */
export interface Requests {
  readonly table: RequestTable;
  readonly description: string;
}

/** The requests of a trace file. Throws FILE_UNREADABLE, TRACE_INVALID. */
export function readTrace(file: string): Requests {
  return { table: readTraceCsv(readTextFile(file), file), description: file };
}

/** The requests of `workload:`. Throws CONFIG_INVALID, FILE_UNREADABLE, TRACE_INVALID. */
export function drawRequests(
  input: WorkloadInput,
  seed: number,
  model: ModelSpec,
  filePath: (path: string) => string,
): Requests {
  const keys = Object.keys(input);
  if ("trace" in input && input.trace !== undefined && keys.length === 1)
    return readTrace(filePath(input.trace));
  const { spec, inputs } = openWorkload(input, filePath);
  if (spec.arrivals === undefined && spec.classes?.every((kind) => kind.arrivals) !== true)
    throw new MillraceError("CONFIG_INVALID", "workload: nothing says when requests arrive", {
      hint: "add workload.qps, e.g. --set workload.qps=4, or workload.arrivals",
    });
  return {
    table: generateWorkload(finite(withinContext(spec, model)), seed, inputs),
    description: describeWorkload(spec),
  };
}

/** A workload's description with the files that it names read. */
export function openWorkload(
  input: WorkloadInput,
  filePath: (path: string) => string,
): { readonly spec: WorkloadSpec; readonly inputs: WorkloadInputs } {
  const spec = resolveWorkload(input, filePath);
  const traces = Object.fromEntries(
    tracePaths(spec).map((path) => [path, readLengths(readTextFile(path), path)]),
  );
  const shapes = Object.fromEntries(
    shapeNames(spec).flatMap((name) => {
      const path = filePath(name);
      if (Object.hasOwn(builtInShapes, name) || !existsSync(path)) return [];
      const text = readTextFile(path);
      return [[name, parseConfig(text, { file: path, schema: workloadShape, format: "json" })]];
    }),
  );
  return { spec, inputs: { traces, shapes } };
}

function shapeNames(spec: WorkloadSpec): readonly string[] {
  return [spec, ...(spec.classes ?? [])].flatMap(({ lengths }) =>
    lengths?.type === "shape" ? [lengths.name] : [],
  );
}

/** The workload with requests cut to what the model can hold, unless it says itself how long they may be. */
export function withinContext(spec: WorkloadSpec, model: ModelSpec): WorkloadSpec {
  return { maxTokens: Math.max(2, model.maxContext), ...spec };
}

/** `azure-conv-2023 at 4 requests/s`. */
export function describeWorkload(spec: WorkloadSpec): string {
  if (spec.classes !== undefined) return spec.classes.map((kind) => kind.name).join(" + ");
  const { arrivals, lengths } = spec;
  const what =
    lengths === undefined
      ? "requests"
      : lengths.type === "shape"
        ? lengths.name
        : lengths.type === "trace"
          ? lengths.path
          : lengths.type === "fixed"
            ? `${lengths.prompt}+${lengths.output} tokens`
            : `${lengths.type} lengths`;
  if (arrivals === undefined) return what;
  if (arrivals.type === "trace") return `${what}, replayed`;
  if (arrivals.qps === undefined) return `${what}, all at once`;
  const kind = arrivals.type === "poisson" ? "" : ` (${arrivals.type})`;
  return `${what} at ${arrivals.qps} requests/s${kind}`;
}

/** Tokens of the longest request, prompt and output. */
export function longestRequest({ count, promptTokens, outputTokens }: RequestTable): number {
  let longest = 0;
  for (let i = 0; i < count; i++)
    longest = Math.max(longest, (promptTokens[i] ?? 0) + (outputTokens[i] ?? 0));
  return longest;
}
