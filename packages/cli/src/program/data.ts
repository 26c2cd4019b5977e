/** The commands of data loading. */
import { MillraceError } from "@millrace/core";
import { dataAnalysisCommands } from "./data-analysis.ts";
import { dataServingCommands } from "./data-serving.ts";
import type { CommandSpec } from "./tree.ts";

export const dataCommands: readonly CommandSpec[] = [
  {
    usage: "data",
    group: "Data loading:",
    summary: "find and remove the waits of training jobs for data",
    text: "Loaders, caches and preparation without data stalls (CoorDL), and the analysis of what a job waits for (DS-Analyzer).",
    commands: [...dataAnalysisCommands, ...dataServingCommands],
    run: async () => {
      throw new MillraceError("USAGE", "data needs a verb: analyze, bench, serve or inspect", {
        hint: "millrace data analyze DATASET --ingestion-rate 1500",
      });
    },
  },
];
