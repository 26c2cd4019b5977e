/** The built-in workload shapes; tools/derive-workloads.ts makes the files from public traces, which are not shipped. */
import type { WorkloadShape } from "../shape.ts";
import { arxivSummarization } from "./arxiv-summarization.ts";
import { azureCode2023 } from "./azure-code-2023.ts";
import { azureConv2023 } from "./azure-conv-2023.ts";
import { sharegptChat } from "./sharegpt-chat.ts";

/** Built-in shapes by name. */
export const builtInShapes: Readonly<Record<string, WorkloadShape>> = {
  "azure-conv-2023": azureConv2023,
  "azure-code-2023": azureCode2023,
  "arxiv-summarization": arxivSummarization,
  "sharegpt-chat": sharegptChat,
};
