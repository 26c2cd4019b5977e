/** Runs a training command three times and takes its times: what computing, preparing and fetching cost it. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MillraceError } from "@millrace/core";
import { dropFilePages } from "@millrace/system";
import { z } from "zod";
import type { Source } from "../source/source.ts";
import { type AnalyzePhase, analyzePhases } from "./instrument.ts";

export interface CommandOptions {
  readonly command: readonly string[];
  /** The data set that the command reads: dropped from the page cache before the cold run, read before the cached one. */
  readonly source: Source;
  /** Samples that a run should process; told to the command. */
  readonly samples: number;
  readonly signal?: AbortSignal;
  readonly onPhase?: (phase: AnalyzePhase) => void;
}

/** Seconds per sample by step, without the first steps, which compile and warm up. */
export type CommandTimes = Readonly<Record<AnalyzePhase, readonly number[]>>;

const stepSchema = z.object({ samples: z.number().positive(), seconds: z.number().positive() });
const warmUpSteps = 5;

/**
 * Cold, cached, synthetic. The command's own output goes to stderr. Throws MillraceError ENVIRONMENT_MISSING when it
 * fails, and CONFIG_INVALID when it reports no steps (see instrument.ts for what it has to do).
 */
export async function timeCommand(options: CommandOptions): Promise<CommandTimes> {
  const folder = mkdtempSync(join(tmpdir(), "millrace-analyze-"));
  try {
    const times: Partial<Record<AnalyzePhase, readonly number[]>> = {};
    for (const phase of analyzePhases) {
      options.signal?.throwIfAborted();
      options.onPhase?.(phase);
      if (phase === "cold") dropFilePages(paths(options.source));
      if (phase === "cached") for (const path of paths(options.source)) readFileSync(path);
      const out = join(folder, phase);
      await run(options, phase, out);
      times[phase] = steps(out, options.command);
    }
    return times as CommandTimes;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function paths(source: Source): ReadonlySet<string> {
  return new Set(Array.from({ length: source.length }, (_, i) => source.extent(i).path));
}

async function run(
  { command, samples, signal }: CommandOptions,
  phase: AnalyzePhase,
  out: string,
): Promise<void> {
  const [program = "", ...rest] = command;
  const child = spawn(program, rest, {
    stdio: ["ignore", 2, 2],
    env: {
      ...process.env,
      MILLRACE_ANALYZE: phase,
      MILLRACE_ANALYZE_OUT: out,
      MILLRACE_ANALYZE_SAMPLES: String(samples),
    },
    ...(signal && { signal }),
  });
  const [code, killed] = (await once(child, "exit").catch((cause: unknown) => {
    signal?.throwIfAborted();
    throw new MillraceError("ENVIRONMENT_MISSING", `${program} cannot be started`, { cause });
  })) as [number | null, string | null];
  if (code !== 0)
    throw new MillraceError(
      "ENVIRONMENT_MISSING",
      `${program} ended with ${killed ?? `exit code ${code}`} in the ${phase} run`,
      { hint: "run the command by itself first; its output is above" },
    );
}

/** Seconds per sample of the steps that count. */
function steps(path: string, command: readonly string[]): readonly number[] {
  const lines = existsSync(path) ? readFileSync(path, "utf8").trim().split("\n") : [];
  const all = lines.flatMap((line) => {
    try {
      const { samples, seconds } = stepSchema.parse(JSON.parse(line));
      return [seconds / samples];
    } catch {
      return [];
    }
  });
  const kept = all.slice(Math.min(warmUpSteps, Math.floor(all.length / 2)));
  if (kept.length > 0) return kept;
  throw new MillraceError("CONFIG_INVALID", `${command[0]} reported no steps`, {
    hint: 'wrap its source with instrument() of @millrace/data, or append {"samples": n, "seconds": s} per step to the file named by MILLRACE_ANALYZE_OUT',
  });
}
