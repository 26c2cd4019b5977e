/** The worker thread in which HiGHS runs: loads the WebAssembly module when the first program comes. */
import { parentPort } from "node:worker_threads";
import highsModule, { type Highs, type HighsCallbackMap } from "highs";
import type { SolveRequest, WorkerReply } from "./highs-protocol.ts";
import type { SolveProgress, SolveResult, SolveStatus } from "./linear-program.ts";

// The package's types describe its CommonJS build; the module that Node imports has the loader itself as its default.
const load = highsModule as unknown as typeof highsModule.default;
let loaded: Promise<Highs> | null = null;

const reply = (message: WorkerReply): void => parentPort?.postMessage(message);

/** Codes of HiGHS (its HighsModelStatus). */
const statusOf: Readonly<Record<number, SolveStatus>> = {
  6: "optimal", // no columns at all
  7: "optimal",
  8: "infeasible",
  9: "unbounded",
  10: "unbounded",
  11: "limit",
  12: "limit",
  13: "limit",
  14: "limit",
  16: "limit",
  17: "aborted",
};

/** Known values alone; HiGHS completes the others. */
function startOf(values: Float64Array): { indices: Int32Array; values: Float64Array } {
  const indices = Int32Array.from(values.keys()).filter((i) => !Number.isNaN(values[i]));
  return { indices, values: Float64Array.from(indices, (i) => values[i] as number) };
}

function solve(solver: Highs, request: SolveRequest): SolveResult {
  const { program } = request;
  const integer = !request.relaxed && program.integral.includes(1);
  const model = solver.createModel({
    numCols: program.columns,
    numRows: program.rows,
    offset: program.offset,
    colCost: program.cost,
    colLower: program.columnLower,
    colUpper: program.columnUpper,
    rowLower: program.rowLower,
    rowUpper: program.rowUpper,
    matrix: {
      format: "csr",
      numRows: program.rows,
      numCols: program.columns,
      starts: program.starts,
      indices: program.indices,
      values: program.values,
    },
    ...(integer ? { integrality: Int32Array.from(program.integral) } : {}),
  });
  try {
    model.options.set("output_flag", false);
    model.options.set("random_seed", request.seed);
    if (request.timeLimitSeconds !== null)
      model.options.set("time_limit", request.timeLimitSeconds);
    if (integer) {
      model.options.set("mip_rel_gap", request.relativeGap);
      if (request.maxNodes !== null) model.options.set("mip_max_nodes", request.maxNodes);
      if (request.start !== null) model.setSolution(startOf(request.start));
    } else if (request.method === "ipm") {
      model.options.set("solver", "ipm");
    }
    const types = solver.constants.callbackType;
    const stopped = (): boolean => Atomics.load(request.stop, 0) !== 0;
    const interrupt = (event: { interrupt(): void }): undefined => {
      if (stopped()) event.interrupt();
    };
    const tell = (progress: SolveProgress): void => reply({ kind: "progress", progress });
    const callbacks: HighsCallbackMap = {
      [types.simplexInterrupt]: interrupt,
      [types.ipmInterrupt]: interrupt,
      [types.mipInterrupt]: interrupt,
      ...(request.progress && integer
        ? {
            [types.mipImprovingSolution]: (event) => {
              const { data } = event;
              tell({
                seconds: data.running_time ?? 0,
                incumbent: data.objective_function_value ?? Number.POSITIVE_INFINITY,
                bound: data.mip_dual_bound ?? Number.NEGATIVE_INFINITY,
                ...(data.mip_solution && { solution: data.mip_solution }),
              });
              return undefined;
            },
            [types.mipLogging]: (event) => {
              const { data } = event;
              tell({
                seconds: data.running_time ?? 0,
                incumbent: data.mip_primal_bound ?? Number.POSITIVE_INFINITY,
                bound: data.mip_dual_bound ?? Number.NEGATIVE_INFINITY,
              });
              return undefined;
            },
          }
        : {}),
    };
    const before = performance.now();
    model.run(callbacks);
    const seconds = (performance.now() - before) / 1000;
    const code = model.getModelStatus();
    let status = statusOf[code] ?? "failed";
    if (status === "limit" && stopped()) status = "aborted";
    const info = (name: string): number => Number(model.info.get(name));
    // 2: a feasible point; 1 would be one that breaks a bound.
    const feasible = code === 6 || info("primal_solution_status") === 2;
    const found = feasible ? model.getSolution() : null;
    const proven = status === "optimal" && found !== null;
    const objective = found === null ? Number.POSITIVE_INFINITY : model.getObjectiveValue();
    return {
      status,
      objective,
      bound: integer
        ? info("mip_dual_bound")
        : proven
          ? objective
          : status === "infeasible"
            ? Number.POSITIVE_INFINITY
            : Number.NEGATIVE_INFINITY,
      solution: found?.colValue ?? null,
      rowDuals: proven && !integer ? found.rowDual : null,
      columnDuals: proven && !integer ? found.colDual : null,
      nodes: integer ? info("mip_node_count") : 0,
      seconds,
    };
  } finally {
    model.dispose();
  }
}

parentPort?.on("message", (request: SolveRequest) => {
  loaded ??= load();
  loaded
    .then((solver) => reply({ kind: "result", result: solve(solver, request) }))
    .catch((error: unknown) => {
      reply({ kind: "broken", error: error instanceof Error ? error.message : String(error) });
    });
});
