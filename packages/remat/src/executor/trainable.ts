/** A graph under a plan as a Trainable of the training loop: one child process, one step at a time. */
import { MillraceError } from "@millrace/core";
import type { StepPrediction, StepResult, Trainable } from "@millrace/core/job";
import { elements, type TrainingGraph } from "../graph/graph.ts";
import type { Plan } from "../problem/plan.ts";
import { simulate } from "../problem/simulate.ts";
import type { BatchData } from "./batch.ts";
import type { EvaluationReport } from "./evaluation.ts";
import type { MemoryReport } from "./executor.ts";
import type { Optimizer } from "./optimizer.ts";
import { executorProblem } from "./problem.ts";
import { TrainerProcess } from "./process/trainer-process.ts";
import { type CostTable, updateSeconds } from "./table.ts";

export interface GraphTrainableOptions {
  readonly graph: TrainingGraph;
  /** Measured on this machine, with its number of threads. */
  readonly table: CostTable;
  readonly plan: Plan;
  readonly optimizer: Optimizer;
  /** Of first parameters and dropout. */
  readonly seed: number;
}

export class GraphTrainable implements Trainable<BatchData> {
  readonly process: TrainerProcess;
  readonly memory: MemoryReport;
  /** Resident bytes of the process before anything of the plan was in it; null where the kernel does not tell. */
  readonly #residentBytes: number | null;
  readonly #prediction: StepPrediction;

  private constructor(
    process: TrainerProcess,
    memory: MemoryReport,
    residentBytes: number | null,
    prediction: StepPrediction,
  ) {
    this.process = process;
    this.memory = memory;
    this.#residentBytes = residentBytes;
    this.#prediction = prediction;
  }

  /** Starts the process, places the plan's buffers and gives the parameters their first values. Rejects with CONFIG_INVALID when the plan is not one of this graph and table. */
  static async open(options: GraphTrainableOptions): Promise<GraphTrainable> {
    const { graph, table, plan, optimizer, seed } = options;
    const verdict = simulate(executorProblem(graph, table, optimizer), plan);
    if (!verdict.valid)
      throw new MillraceError(
        "CONFIG_INVALID",
        `action ${verdict.at} of the plan cannot be done: it ${verdict.reason}`,
        { hint: "a plan fits the graph and the cost table it was made for: plan again" },
      );
    const process = await TrainerProcess.open({ graph, threads: table.threads });
    try {
      const before = process.residentMemory()?.residentBytes ?? null;
      const told = process.resetPeak();
      const memory = await process.call("load", { table, plan, optimizer, seed });
      await process.call("initialise", { seed });
      const parameters = graph.operators.flatMap((op) =>
        op.parameters.map((p) => elements(p.dims)),
      );
      const count = parameters.reduce((sum, n) => sum + n, 0);
      return new GraphTrainable(process, memory, told ? before : null, {
        stepSeconds: verdict.time + updateSeconds(table, optimizer.kind, count),
        peakBytes: verdict.peak,
      });
    } catch (error) {
      await process[Symbol.asyncDispose]();
      throw error;
    }
  }

  /**
   * Most bytes that the process grew by so far, as the kernel counts them, since before memory, plan and code of the step
   * were in it: only ggml and its threads were there. Null where the kernel does not tell.
   */
  residentGrowth(): number | null {
    const peak = this.process.residentMemory()?.peakBytes ?? null;
    return peak === null || this.#residentBytes === null ? null : peak - this.#residentBytes;
  }

  predict(): StepPrediction {
    return this.#prediction;
  }

  async step(batch: BatchData): Promise<StepResult> {
    const { loss, seconds } = await this.process.callOn("step", batch);
    return { loss, seconds, peakBytes: this.memory.livePeakBytes };
  }

  /** Loss and accuracy on a batch as the trained network sees it: no dropout, batch norm by running statistics. */
  async evaluate(batch: BatchData): Promise<EvaluationReport> {
    return await this.process.callOn("evaluate", batch);
  }

  async save(dir: string): Promise<void> {
    await this.process.call("save", { dir });
  }

  async load(dir: string): Promise<void> {
    await this.process.call("restore", { dir });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.process[Symbol.asyncDispose]();
  }
}
