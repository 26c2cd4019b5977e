/** From flags to a planning problem: a file of problems, or a built-in graph with its costs. */
import { MillraceError, parseBytes, parseSeconds, suggestion } from "@millrace/core";
import { readTextFile } from "@millrace/core/node";
import {
  buildModel,
  csvCosts,
  type Effort,
  gpuLibrary,
  lower,
  type ModelOptions,
  type Problem,
  parseProblemFile,
  pytorchLibrary,
  rooflineCosts,
  storeAll,
  type TrainingGraph,
} from "@millrace/remat";

/** Flags of graphs and effort, as commander read them. */
export interface GraphFlags {
  readonly case?: string;
  readonly model?: string;
  readonly batch?: number;
  readonly image?: string;
  readonly tokens?: number;
  readonly layers?: number;
  readonly type?: "f32" | "f16" | "bf16";
  readonly device?: string;
  readonly costs?: string;
  readonly optimizer?: "sgd" | "momentum" | "adamw";
  readonly checkpointOnly?: boolean;
  readonly budget?: string;
  readonly effort?: Effort;
  readonly seed?: number;
  readonly timeLimit?: string;
}

/** A problem with what is known of where it comes from. */
export interface Source {
  readonly problem: Problem;
  /** The budget of the file, in its units. */
  readonly budget: number | undefined;
  readonly graph: TrainingGraph | null;
  /** Where times come from, null for files. */
  readonly costs: string | null;
  /** Storing everything as PyTorch does; for files, by the first choices. */
  readonly reference: { readonly time: number; readonly peak: number };
  /** Whether sizes are bytes and times are seconds. */
  readonly physical: boolean;
}

const optimizerState = { sgd: 0, momentum: 1, adamw: 2 } as const;

/** Height and width of `224x224`. */
function imageOf(text: string): readonly [number, number] {
  const match = /^(\d{1,5})x(\d{1,5})$/.exec(text);
  if (match === null)
    throw new MillraceError(
      "USAGE",
      `--image: expected height x width, got ${JSON.stringify(text)}`,
      {
        hint: "for instance --image 224x224",
      },
    );
  return [Number(match[1]), Number(match[2])];
}

/** The built-in graph that flags name. */
export function graphOf(name: string, flags: GraphFlags): TrainingGraph {
  const options: ModelOptions = {
    batch: flags.batch ?? 32,
    ...(flags.image !== undefined && { image: imageOf(flags.image) }),
    ...(flags.tokens !== undefined && { tokens: flags.tokens }),
    ...(flags.layers !== undefined && { layers: flags.layers }),
    ...(flags.type !== undefined && { type: flags.type }),
  };
  return buildModel(name, options);
}

function fromGraph(graph: TrainingGraph, flags: GraphFlags): Source {
  const roofline = rooflineCosts(flags.device ?? "a100");
  const costs =
    flags.costs === undefined
      ? roofline
      : csvCosts(readTextFile(flags.costs), flags.costs, roofline);
  const state = optimizerState[flags.optimizer ?? "sgd"];
  const plain = lower(graph, { library: pytorchLibrary, costs, optimizerState: state });
  const problem =
    flags.checkpointOnly === true
      ? plain
      : lower(graph, { library: gpuLibrary, costs, optimizerState: state });
  const { time, peak } = storeAll(plain);
  return {
    problem,
    budget: undefined,
    graph,
    costs: costs.name,
    reference: { time, peak },
    physical: true,
  };
}

/** The problem that a command line names. Throws MillraceError USAGE when it names none. */
export function sourceOf(file: string | undefined, flags: GraphFlags): Source {
  if (flags.model !== undefined) {
    if (file !== undefined)
      throw new MillraceError("USAGE", `both ${file} and --model ${flags.model} are given`);
    return fromGraph(graphOf(flags.model, flags), flags);
  }
  if (file === undefined)
    throw new MillraceError("USAGE", "no training graph is named", {
      hint: "name a file of problems, or a built-in graph with --model; `millrace memory models` lists them",
    });
  const cases = parseProblemFile(readTextFile(file), file);
  const names = cases.map(({ name }) => name);
  const found = flags.case === undefined ? cases[0] : cases.find(({ name }) => name === flags.case);
  if (found === undefined)
    throw new MillraceError("USAGE", `${file} has no problem ${JSON.stringify(flags.case)}`, {
      hint: suggestion(flags.case ?? "", names) ?? `it has ${names.join(", ")}`,
    });
  if (flags.case === undefined && cases.length > 1)
    throw new MillraceError("USAGE", `${file} holds ${cases.length} problems`, {
      hint: `name one with --case: ${names.join(", ")}`,
    });
  const { problem, budget } = found;
  const { time, peak } = storeAll(problem);
  return { problem, budget, graph: null, costs: null, reference: { time, peak }, physical: false };
}

/** The budget of a command line: a size, a share of the reference's peak, or the file's own. */
export function budgetOf(source: Source, text: string | undefined): number {
  const percent = /^(\d+(?:\.\d+)?)%$/.exec(text ?? "");
  if (percent !== null) return (source.reference.peak * Number(percent[1])) / 100;
  if (text !== undefined) {
    // Files may be in any unit, with fractions.
    const plain = Number(text);
    if (text.trim() !== "" && Number.isFinite(plain) && plain >= 0) return plain;
    return parseBytes(text, "--budget");
  }
  if (source.budget === undefined)
    throw new MillraceError("USAGE", "no budget is given", {
      hint: "add --budget, e.g. --budget 8GiB or --budget 50%",
    });
  return source.budget;
}

/** Effort, seed and time limit. */
export function searchOf(flags: GraphFlags): {
  effort: Effort;
  seed: number;
  timeLimitSeconds?: number;
} {
  return {
    effort: flags.effort ?? "medium",
    seed: flags.seed ?? 1,
    ...(flags.timeLimit !== undefined && {
      timeLimitSeconds: parseSeconds(flags.timeLimit, "--time-limit"),
    }),
  };
}
