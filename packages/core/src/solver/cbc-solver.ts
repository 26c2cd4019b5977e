/** CBC (coin-or) as a program, where it is installed: faster than WebAssembly on many mixed-integer programs. */
import { spawn, spawnSync } from "node:child_process";
import { createWriteStream, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { MillraceError } from "../errors.ts";
import type {
  LinearProgram,
  LinearSolver,
  SolveOptions,
  SolveResult,
  SolveStatus,
} from "./linear-program.ts";

/** Whether a CBC program can be started. */
export function hasCbc(command = "cbc"): boolean {
  return spawnSync(command, ["-quit"], { stdio: "ignore" }).error === undefined;
}

/** The program in free MPS, piece by piece. */
function* mps(program: LinearProgram, relaxed: boolean): Generator<string> {
  const { rows, columns, rowLower, rowUpper } = program;
  const kind = (r: number): string => {
    const [low, high] = [rowLower[r] as number, rowUpper[r] as number];
    if (low === high) return "E";
    if (Number.isFinite(high)) return "L";
    return Number.isFinite(low) ? "G" : "N";
  };
  yield "NAME millrace FREE\nROWS\n N cost\n";
  for (let r = 0; r < rows; r++) yield ` ${kind(r)} r${r}\n`;
  // MPS goes column by column, the program row by row.
  const heads = new Int32Array(columns + 1);
  for (const c of program.indices) heads[c + 1] = (heads[c + 1] as number) + 1;
  for (let c = 0; c < columns; c++) heads[c + 1] = (heads[c + 1] as number) + (heads[c] as number);
  const place = heads.slice();
  const rowOf = new Int32Array(program.indices.length);
  const value = new Float64Array(program.indices.length);
  for (let r = 0; r < rows; r++)
    for (let i = program.starts[r] as number; i < (program.starts[r + 1] as number); i++) {
      const at = place[program.indices[i] as number] as number;
      place[program.indices[i] as number] = at + 1;
      rowOf[at] = r;
      value[at] = program.values[i] as number;
    }
  yield "COLUMNS\n";
  let whole = false;
  for (let c = 0; c < columns; c++) {
    const integer = !relaxed && program.integral[c] === 1;
    if (integer !== whole) {
      whole = integer;
      yield ` M${c} 'MARKER' '${integer ? "INTORG" : "INTEND"}'\n`;
    }
    // Columns without an entry have to be named all the same.
    let text = ` c${c} cost ${program.cost[c]}\n`;
    for (let i = heads[c] as number; i < (heads[c + 1] as number); i++)
      text += ` c${c} r${rowOf[i]} ${value[i]}\n`;
    yield text;
  }
  if (whole) yield " MEND 'MARKER' 'INTEND'\n";
  yield `RHS\n rhs cost ${-program.offset}\n`;
  for (let r = 0; r < rows; r++) {
    const of = kind(r);
    if (of !== "N") yield ` rhs r${r} ${of === "G" ? rowLower[r] : rowUpper[r]}\n`;
  }
  yield "RANGES\n";
  for (let r = 0; r < rows; r++)
    if (kind(r) === "L" && Number.isFinite(rowLower[r] as number))
      yield ` rng r${r} ${(rowUpper[r] as number) - (rowLower[r] as number)}\n`;
  yield "BOUNDS\n";
  for (let c = 0; c < columns; c++) {
    const [low, high] = [program.columnLower[c] as number, program.columnUpper[c] as number];
    if (low === high) yield ` FX bnd c${c} ${low}\n`;
    else {
      yield Number.isFinite(low) ? ` LO bnd c${c} ${low}\n` : ` MI bnd c${c}\n`;
      yield Number.isFinite(high) ? ` UP bnd c${c} ${high}\n` : ` PL bnd c${c}\n`;
    }
  }
  yield "ENDATA\n";
}

/** Status, objective and values of CBC's solution file. */
function parseSolution(text: string, columns: number): Omit<SolveResult, "seconds"> {
  const [head = "", ...lines] = text.split("\n");
  const kinds: readonly (readonly [RegExp, SolveStatus])[] = [
    [/^Optimal/, "optimal"],
    [/^(Infeasible|Integer infeasible)/, "infeasible"],
    [/^Unbounded/, "unbounded"],
    [/^Stopped/, "limit"],
  ];
  const status = kinds.find(([pattern]) => pattern.test(head))?.[1] ?? "failed";
  const value = Number(/objective value\s+(\S+)/.exec(head)?.[1]);
  // A search that was stopped before it had a solution writes the relaxation's.
  const found =
    status === "optimal" ||
    (status === "limit" && !/no integer solution/.test(head) && value < 1e49);
  const solution = found ? new Float64Array(columns) : null;
  if (solution !== null)
    for (const line of lines) {
      const match = /^\s*(?:\*\*)?\s*\d+\s+c(\d+)\s+(\S+)/.exec(line);
      if (match !== null) solution[Number(match[1])] = Number(match[2]);
    }
  return {
    status,
    objective: found ? value : Number.POSITIVE_INFINITY,
    bound:
      status === "optimal"
        ? value
        : status === "infeasible"
          ? Number.POSITIVE_INFINITY
          : Number.NEGATIVE_INFINITY,
    solution,
    rowDuals: null,
    columnDuals: null,
    nodes: 0,
  };
}

/** Solves with CBC; starts and progress are not used, duals and bounds of stopped searches are not given. */
export class CbcSolver implements LinearSolver {
  readonly name = "CBC";
  private readonly command: string;
  private last: Promise<unknown> = Promise.resolve();

  constructor(command = "cbc") {
    this.command = command;
  }

  solve(program: LinearProgram, options: SolveOptions = {}): Promise<SolveResult> {
    const turn = this.last.then(() => this.run(program, options));
    this.last = turn.catch(() => {});
    return turn;
  }

  private async run(program: LinearProgram, options: SolveOptions): Promise<SolveResult> {
    const { signal, timeLimitSeconds, maxNodes, relativeGap, relaxed = false } = options;
    const started = performance.now();
    const seconds = (): number => (performance.now() - started) / 1000;
    const aborted = (): SolveResult => ({
      ...parseSolution("", 0),
      status: "aborted",
      seconds: seconds(),
    });
    if (signal?.aborted) return aborted();
    const folder = mkdtempSync(join(tmpdir(), "millrace-cbc-"));
    try {
      const model = join(folder, "model.mps");
      const out = join(folder, "solution.txt");
      await pipeline(Readable.from(mps(program, relaxed)), createWriteStream(model));
      const args = [model, "-log", "0"];
      if (timeLimitSeconds !== undefined) args.push("-seconds", String(timeLimitSeconds));
      if (maxNodes !== undefined) args.push("-maxNodes", String(Math.max(1, maxNodes)));
      if (relativeGap !== undefined) args.push("-ratioGap", String(relativeGap));
      args.push("-solve", "-solu", out);
      await new Promise<void>((resolve, reject) => {
        const child = spawn(this.command, args, { stdio: "ignore", ...(signal && { signal }) });
        child.once("error", (error) => {
          if (signal?.aborted) resolve();
          else
            reject(
              new MillraceError("ENVIRONMENT_MISSING", `${this.command} cannot be started`, {
                hint: "install coinor-cbc, or use HiGHS, which needs nothing",
                cause: error,
              }),
            );
        });
        child.once("close", () => resolve());
      });
      if (signal?.aborted) return aborted();
      return { ...parseSolution(readFileSync(out, "utf8"), program.columns), seconds: seconds() };
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.last;
  }
}
