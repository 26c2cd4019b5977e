/** What would otherwise show only after minutes of profiling: settings that no server takes, requests that fit no context. */
import { MillraceError } from "@millrace/core";
import { readServeConfig } from "../engine/serve-config.ts";
import { knobGrid, serveFlags } from "./candidates.ts";
import type { CalibrateOptions } from "./options.ts";

/** Throws what `millrace serve` would throw for one of the settings to try, and USAGE. Reads the model's header alone. */
export function checkQuestion(options: CalibrateOptions): void {
  for (const knobs of knobGrid(options)) readServeConfig(serveFlags(knobs, options.engine));
  const { engine, card } = readServeConfig(options.engine);
  const context = Math.min(card.contextTokens, engine.contextTokens ?? Number.POSITIVE_INFINITY);
  const needed = longestOf(options);
  if (needed > context)
    throw new MillraceError(
      "USAGE",
      `requests of up to ${needed} tokens do not fit the context of ${context} tokens`,
      {
        hint:
          context < card.contextTokens
            ? `shorter --prompt-tokens or --output-tokens, or --context up to ${card.contextTokens}`
            : "shorter --prompt-tokens or --output-tokens: the model has no longer context",
      },
    );
}

/** Tokens of the longest request that was asked for; those of a known workload are cut to the context, which is told. */
function longestOf({ lengths }: CalibrateOptions): number {
  switch (lengths.type) {
    case "range":
      return lengths.prompt.max + lengths.output.max;
    case "fixed":
      return lengths.prompt + lengths.output;
    default:
      return 0;
  }
}
