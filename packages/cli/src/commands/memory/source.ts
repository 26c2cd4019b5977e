/** From flags to a planning problem: a file of problems, or a built-in graph with its costs. */
import { readFileSync, statSync } from "node:fs";
import { MillraceError, parseBytes, parseSeconds, suggestion } from "@millrace/core";
import { AtomicFileStream, readTextFile, systemReason } from "@millrace/core/node";
import { CbcSolver, HighsSolver, hasCbc, type LinearSolver } from "@millrace/core/solver";
import {
  buildModel,
  type CostModel,
  csvCosts,
  type Effort,
  gpuLibrary,
  importOnnx,
  lower,
  type ModelOptions,
  type Problem,
  parseProblemFile,
  parseTrace,
  pytorchLibrary,
  readOnnx,
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
  readonly solver?: "highs" | "cbc";
}

/** A problem with what is known of where it comes from. */
export interface Source {
  readonly problem: Problem;
  /** The budget of the file, in its units. */
  readonly budget: number | undefined;
  readonly graph: TrainingGraph | null;
  /** Where times come from, null for files. */
  readonly costs: string | null;
  /** The same for people: it says what is modelled, and of measured times nothing of the kind. */
  readonly times: string | null;
  /** The problem of the reference: one implementation per operator. */
  readonly plain: Problem;
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

function fromGraph(
  graph: TrainingGraph,
  flags: GraphFlags,
  measured: ((otherwise: CostModel) => CostModel) | null = null,
): Source {
  const roofline = rooflineCosts(flags.device ?? "a100");
  const base = measured === null ? roofline : measured(roofline);
  const costs =
    flags.costs === undefined ? base : csvCosts(readTextFile(flags.costs), flags.costs, base);
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
    times: measured !== null && flags.costs === undefined ? costs.name : `${costs.name} (modelled)`,
    plain,
    reference: { time, peak },
    physical: true,
  };
}

/** Files beyond it are refused before they are read; weights can stay in external data. */
const largestOnnx = 2 ** 31;

function fromOnnx(file: string, flags: GraphFlags): TrainingGraph {
  let bytes: Uint8Array;
  try {
    const { size } = statSync(file);
    if (size >= largestOnnx)
      throw new MillraceError(
        "GRAPH_INVALID",
        `${file} has ${size} bytes, more than an ONNX file can`,
        {
          at: { file },
        },
      );
    bytes = readFileSync(file);
  } catch (error) {
    if (error instanceof MillraceError) throw error;
    throw new MillraceError("FILE_UNREADABLE", `${file}: ${systemReason(error)}`, {
      at: { file },
      cause: error,
    });
  }
  return importOnnx(readOnnx(bytes, file), file, {
    batch: flags.batch ?? 32,
    ...(flags.tokens !== undefined && { symbols: { tokens: flags.tokens } }),
  });
}

/** The problem that a command line names. Throws MillraceError USAGE when it names none. */
export function sourceOf(file: string | undefined, flags: GraphFlags): Source {
  if (flags.model !== undefined) {
    if (file !== undefined)
      throw new MillraceError("USAGE", `both ${file} and --model ${flags.model} are given`);
    if (flags.case !== undefined)
      throw new MillraceError("USAGE", "--case names a problem of a file, and --model is given");
    return fromGraph(graphOf(flags.model, flags), flags);
  }
  if (file === undefined)
    throw new MillraceError("USAGE", "no training graph is named", {
      hint: "name a file of problems, or a built-in graph with --model; `millrace memory models` lists them",
    });
  if (file.endsWith(".onnx")) return fromGraph(fromOnnx(file, flags), flags);
  const content = readTextFile(file);
  if (content.slice(0, 200).includes("millrace.training-trace/")) {
    const { graph, costs } = parseTrace(content, file);
    return fromGraph(graph, flags, costs);
  }
  const cases = parseProblemFile(content, file);
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
  return {
    problem,
    budget,
    graph: null,
    costs: null,
    times: null,
    plain: problem,
    reference: { time, peak },
    physical: false,
  };
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

/** The file that a flag names, opened before the work begins so that a place that cannot be written is told at once. */
export function outputOf(path: string | undefined): AtomicFileStream | null {
  if (path === "") throw new MillraceError("USAGE", "the name of the file to write is empty");
  return path === undefined ? null : new AtomicFileStream(path);
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

/** The solver of linear programs that flags name; to be disposed. Throws ENVIRONMENT_MISSING when CBC is not there. */
export function programsOf(flags: GraphFlags): LinearSolver {
  if (flags.solver !== "cbc") return new HighsSolver();
  if (hasCbc()) return new CbcSolver();
  throw new MillraceError("ENVIRONMENT_MISSING", "--solver cbc: there is no program cbc", {
    hint: "install coinor-cbc, or leave the flag out: HiGHS needs nothing",
  });
}
