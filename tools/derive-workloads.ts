/**
 * Derives the built-in workload shapes from the traces they are named after, which are not shipped:
 *   npx tsx --conditions=millrace:source tools/derive-workloads.ts ../shared/data/traces
 * Writes packages/serving/src/workload/shapes/NAME.ts and prints the distances to the traces.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { fitShape, readLengths, type ShapeOrigin, type WorkloadShape } from "@millrace/serving";

interface Origin extends ShapeOrigin {
  readonly file: string;
  readonly constant: string;
}

const origins: readonly Origin[] = [
  {
    name: "azure-conv-2023",
    constant: "azureConv2023",
    file: "splitwise_conv.csv",
    source:
      "Azure LLM inference trace 2023, conversation (AzurePublicDataset, CC-BY 4.0; Patel et al., Splitwise, ISCA 2024)",
    tokenizer: "as logged by the service; not named by the dataset",
  },
  {
    name: "azure-code-2023",
    constant: "azureCode2023",
    file: "splitwise_code.csv",
    source:
      "Azure LLM inference trace 2023, code completion (AzurePublicDataset, CC-BY 4.0; Patel et al., Splitwise, ISCA 2024)",
    tokenizer: "as logged by the service; not named by the dataset",
  },
  {
    name: "arxiv-summarization",
    constant: "arxivSummarization",
    file: "arxiv_summarization_stats_llama2_tokenizer_filtered_v2.csv",
    source:
      "arXiv summarization (Cohan et al., NAACL 2018; licence not stated): article to abstract, as filtered for Sarathi-Serve and Vidur",
    tokenizer: "Llama-2",
  },
  {
    name: "sharegpt-chat",
    constant: "sharegptChat",
    file: "sharegpt_val_10k_llama2.csv",
    source: "ShareGPT conversations, 10,000 of the validation part (licence not stated)",
    tokenizer: "Llama-2",
  },
];

const folder = process.argv[2];
if (folder === undefined) {
  process.stderr.write("usage: derive-workloads.ts FOLDER_OF_TRACES\n");
  process.exit(2);
}
const out = fileURLToPath(new URL("../packages/serving/src/workload/shapes/", import.meta.url));

function moduleText(shape: WorkloadShape, constant: string): string {
  return `/** Made by tools/derive-workloads.ts; do not edit. */
import type { WorkloadShape } from "../shape.ts";

/** ${shape.source}. */
export const ${constant}: WorkloadShape = ${JSON.stringify(shape)};
`;
}

for (const { file, constant, ...origin } of origins) {
  const path = join(folder, file);
  const rows = readLengths(readFileSync(path, "utf8"), path);
  const shape = fitShape(origin, rows.promptTokens, rows.outputTokens, rows.arrivedAt);
  const text = moduleText(shape, constant);
  writeFileSync(join(out, `${origin.name}.ts`), text);
  const { distance } = shape;
  process.stdout.write(
    `${origin.name}: n ${shape.n}, knots ${shape.prompt.tokens.length} + ${shape.output.tokens.length}, ` +
      `mean ${shape.prompt.mean.toFixed(1)} / ${shape.output.mean.toFixed(1)}, rank correlation ${shape.rankCorrelation}, ` +
      `arrivals ${JSON.stringify(shape.arrivals)}, KS prompt ${distance.prompt} output ${distance.output} total ${distance.total}, ` +
      `${text.length} bytes\n`,
  );
}
process.stdout.write("run `npx biome format --write packages/serving/src/workload/shapes` next\n");
