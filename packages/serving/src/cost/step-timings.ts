/** The timing log of an engine: what each step computed and how long it took, one JSON object per line. */
import { MillraceError } from "@millrace/core";
import type { StepWork } from "./step-work.ts";

/** A step of a timing log. Seconds. */
export interface StepTimed extends StepWork {
  /** Building its graph and computing it. */
  readonly computeSeconds: number;
  /** From the end of the step before to its own end, where the engine went straight on; after a pause, from its own plan on. */
  readonly periodSeconds: number;
  /** Its start on the engine's clock. */
  readonly at: number;
}

/** A step longer than this many times its prediction and this many seconds was stopped by something else altogether. */
const INTERRUPTED = { times: 10, seconds: 0.05 };

/** Whether a step of this period says nothing of its own cost, because something else stopped it. */
export function interrupted(periodSeconds: number, predicted: number): boolean {
  return periodSeconds >= INTERRUPTED.seconds && periodSeconds >= INTERRUPTED.times * predicted;
}

/**
 * The steps of a timing log. Throws TRACE_INVALID with the first line that is none; a last line that was cut off is left
 * out.
 */
export function parseStepTimings(text: string, file: string): readonly StepTimed[] {
  const steps: StepTimed[] = [];
  const lines = text.split("\n");
  for (const [i, line] of lines.entries()) {
    if (line === "") continue;
    let step: Readonly<Record<string, unknown>>;
    try {
      step = JSON.parse(line) as Readonly<Record<string, unknown>>;
    } catch {
      if (i === lines.length - 1) break;
      throw invalid(file, i + 1, "is not JSON");
    }
    const number = (key: string): number => {
      const value = step[key];
      if (typeof value !== "number" || !(value >= 0))
        throw invalid(file, i + 1, `has ${key} ${JSON.stringify(value)}, not a number from 0 on`);
      return value;
    };
    const computeSeconds = number("buildSeconds") + number("computeSeconds");
    if (computeSeconds === 0) throw invalid(file, i + 1, "took no time");
    const gap = step.gapSeconds === null ? 0 : number("gapSeconds");
    // Logs of before did not tell chunks that end their prompt from others.
    const rows = number("prefillRows") + number("decodeRows");
    steps.push({
      prefillTokens: number("prefillTokens"),
      prefillRows: number("prefillRows"),
      prefillPairs: number("prefillPairs"),
      tilePairs: number("tilePairs"),
      shortPairs: number("shortPairs"),
      decodeRows: number("decodeRows"),
      decodeContext: number("decodeContext"),
      outputs: step.outputs === undefined ? rows : number("outputs"),
      mapped: number("mapped"),
      fresh: number("fresh"),
      computeSeconds,
      periodSeconds:
        gap +
        number("planSeconds") +
        number("memorySeconds") +
        computeSeconds +
        number("sampleSeconds"),
      at: number("at"),
    });
  }
  return steps;
}

function invalid(file: string, line: number, what: string): MillraceError {
  return new MillraceError("TRACE_INVALID", `${file}:${line} ${what}`, {
    hint: "timing logs are written by millrace serve --timing-log FILE",
    at: { file, line },
  });
}
