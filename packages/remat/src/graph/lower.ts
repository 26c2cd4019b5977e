/** From a graph, a library and a cost model to a planning problem in bytes and seconds. */
import { MillraceError } from "@millrace/core";
import type {
  BackwardChoice,
  ForwardChoice,
  Problem,
  ProblemOperator,
} from "../problem/problem.ts";
import { inputBytes, outputBytes, parameterBytes, type TrainingGraph } from "./graph.ts";
import type { CostModel, Need, OperatorLibrary } from "./library.ts";

/** What is counted, and which choices there are. */
export interface LowerOptions {
  readonly library: OperatorLibrary;
  readonly costs: CostModel;
  /** Bytes of optimizer state per byte of parameters: 0 for SGD, 1 with momentum, 2 for AdamW. */
  readonly optimizerState: number;
  /** False keeps the first implementation of each list only: what to keep is all that is left to decide. */
  readonly chooseImplementations?: boolean;
}

/**
 * The problem of a graph: `fixed` is parameters, optimizer state and network inputs; parameter gradients are counted as
 * they appear. Operator and choice indices are those of the graph and the library. Throws GRAPH_INVALID naming an operator
 * whose shapes or parameters give no time or size.
 */
export function lower(graph: TrainingGraph, options: LowerOptions): Problem {
  const { library, costs } = options;
  const n = graph.operators.length;
  const all = options.chooseImplementations !== false;
  const parameters = graph.operators.reduce((sum, op) => sum + parameterBytes(graph, op), 0);
  const operators = graph.operators.map((operator, j): ProblemOperator => {
    const implementations = library.implementations(graph, j);
    const tensor = (need: Need): number => {
      if (need.kind === "output") return j;
      if (need.kind === "auxiliary") return n + j;
      return operator.inputs[need.position] as number;
    };
    const forward = implementations.forward.map(
      (choice): ForwardChoice => ({
        name: choice.name,
        time: costs.seconds(graph, j, "forward", choice),
        ...(choice.again !== undefined && {
          again: costs.seconds(graph, j, "forward", { ...choice, work: choice.again }),
        }),
        workspace: choice.workspaceBytes,
        ...(choice.auxiliaryBytes !== undefined && { auxiliary: choice.auxiliaryBytes }),
        ...(choice.inPlace !== undefined && { inPlace: operator.inputs[choice.inPlace] as number }),
      }),
    );
    const backward = implementations.backward.map(
      (choice): BackwardChoice => ({
        name: choice.name,
        time: costs.seconds(graph, j, "backward", choice),
        workspace: choice.workspaceBytes,
        needs: [...new Set(choice.needs.map(tensor))],
        ...(choice.inPlace !== undefined && { inPlace: operator.inputs[choice.inPlace] as number }),
        ...(choice.split !== undefined && {
          split: {
            workspace: choice.split.workspaceBytes,
            frees: choice.split.frees.map((position) => operator.inputs[position] as number),
          },
        }),
      }),
    );
    const lowered: ProblemOperator = {
      name: operator.name,
      inputs: operator.inputs,
      output: outputBytes(graph, j),
      parameterGradient: parameterBytes(graph, operator),
      forward: all ? forward : forward.slice(0, 1),
      backward: all ? backward : backward.slice(0, 1),
    };
    if (!amountsOf(lowered).every((amount) => amount >= 0 && Number.isFinite(amount)))
      throw new MillraceError(
        "GRAPH_INVALID",
        `operator ${j} (${operator.name}, ${operator.operation.kind}): its shapes and parameters give no time or size`,
        { hint: "look at its dimensions, its attributes and whether it has its parameters" },
      );
    return lowered;
  });
  return {
    name: graph.name,
    fixed: parameters * (1 + options.optimizerState) + inputBytes(graph),
    operators,
  };
}

/** Times and sizes of an operator. */
function amountsOf({ output, parameterGradient, forward, backward }: ProblemOperator): number[] {
  return [
    output,
    parameterGradient,
    ...forward.flatMap((f) => [f.time, f.workspace, f.again ?? 0, f.auxiliary ?? 0]),
    ...backward.flatMap((b) => [b.time, b.workspace, b.split?.workspace ?? 0]),
  ];
}
