/** Raw text: one text a line, or the JSON lines of the long-form data sets (uid, title, content, target_ind, target_rel). */
import { type Csr, CsrBuilder, mostIds } from "./csr.ts";
import { badLine, eachLine } from "./lines.ts";

/** Points or labels of a JSON-lines file. */
export interface TextRows {
  readonly texts: readonly string[];
  /** Labels of each point; null where no line has target_ind (label files). */
  readonly labels: Csr | null;
}

/** Reads one text a line (`trn_X.txt`, `Y.txt`), UTF-8, also `.gz`. */
export async function readTexts(file: string): Promise<string[]> {
  const decoder = new TextDecoder();
  const texts: string[] = [];
  await eachLine(file, (bytes, from, to) => {
    texts.push(decoder.decode(bytes.subarray(from, to)));
  });
  return texts;
}

function record(file: string, line: number, text: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    badLine(file, line, "the line is not JSON");
  }
  if (typeof value !== "object" || value === null || Array.isArray(value))
    badLine(file, line, "the line is not a JSON object");
  return value as Record<string, unknown>;
}

/**
 * Reads `trn.json.gz`, `tst.json.gz` or `lbl.json.gz`. The text is title and content joined by a space. `labelCount` null
 * takes the largest id + 1. Throws DATASET_INVALID with file and line.
 */
export async function readJsonLines(file: string, labelCount: number | null): Promise<TextRows> {
  const decoder = new TextDecoder();
  const texts: string[] = [];
  const builder = new CsrBuilder(false);
  let largest = -1;
  let labelled = false;
  await eachLine(file, (bytes, from, to, line) => {
    if (from === to) return;
    const row = record(file, line, decoder.decode(bytes.subarray(from, to)));
    const parts = [row["title"], row["content"]].filter((part) => typeof part === "string");
    if (parts.length === 0) badLine(file, line, "the line has neither title nor content");
    texts.push(parts.join(" ").trim());
    const targets = row["target_ind"];
    if (targets !== undefined && !Array.isArray(targets))
      badLine(file, line, "target_ind is not a list");
    labelled ||= targets !== undefined;
    for (const id of targets ?? []) {
      if (typeof id !== "number" || !Number.isInteger(id) || id < 0 || id >= mostIds)
        badLine(file, line, `target_ind holds ${JSON.stringify(id)}, which is no label id`);
      if (labelCount !== null && id >= labelCount)
        badLine(
          file,
          line,
          `label ${id} is out of range`,
          `there are ${labelCount} labels; ids start at 0`,
        );
      largest = Math.max(largest, id);
      builder.add(id);
    }
    const twice = builder.endRow();
    if (twice >= 0) badLine(file, line, `label ${twice} occurs twice`);
  });
  return { texts, labels: labelled ? builder.build(labelCount ?? largest + 1) : null };
}
