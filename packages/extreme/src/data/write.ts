/** Writers of the repository's formats. Files appear under their name only when they are whole. */

import { invariant } from "@millrace/core";
import { AtomicFileStream } from "@millrace/core/node";
import type { Ranking } from "../metrics/ranking.ts";
import type { Csr } from "./csr.ts";

/** At most 6 significant digits, as the published files have. */
function number(value: number): string {
  return String(Number(value.toPrecision(6)));
}

function entries(matrix: Csr, row: number): string {
  const parts: string[] = [];
  for (let j = matrix.indptr[row] as number; j < (matrix.indptr[row + 1] as number); j++)
    parts.push(
      `${matrix.indices[j]}:${matrix.values === null ? 1 : number(matrix.values[j] as number)}`,
    );
  return parts.join(" ");
}

function writeLines(path: string, lines: Iterable<string>): void {
  using file = new AtomicFileStream(path);
  let block: string[] = [];
  for (const line of lines) {
    block.push(line);
    if (block.length === 4096) {
      file.write(`${block.join("\n")}\n`);
      block = [];
    }
  }
  if (block.length > 0) file.write(`${block.join("\n")}\n`);
  file.commit();
}

/** Writes `rows cols` and then `id:value` rows. */
export function writeMatrix(path: string, matrix: Csr): void {
  writeLines(
    path,
    (function* () {
      yield `${matrix.rows} ${matrix.cols}`;
      for (let i = 0; i < matrix.rows; i++) yield entries(matrix, i);
    })(),
  );
}

/** Writes the one-file form. */
export function writeOneFile(path: string, features: Csr, labels: Csr): void {
  invariant(features.rows === labels.rows, "features and labels have as many rows");
  writeLines(
    path,
    (function* () {
      yield `${features.rows} ${features.cols} ${labels.cols}`;
      for (let i = 0; i < features.rows; i++) {
        const own = labels.indices.subarray(labels.indptr[i], labels.indptr[i + 1]);
        yield `${own.join(",")} ${entries(features, i)}`;
      }
    })(),
  );
}

/** Writes one text a line; line ends inside a text become spaces. */
export function writeTexts(path: string, texts: Iterable<string>): void {
  writeLines(
    path,
    (function* () {
      for (const text of texts) yield text.replace(/[\r\n]+/g, " ");
    })(),
  );
}

/** Writes predictions: one line of `label:score` entries per point, best first. */
export function writePredictions(path: string, ranking: Ranking): void {
  writeLines(
    path,
    (function* () {
      for (let i = 0; i < ranking.points; i++) {
        const parts: string[] = [];
        for (let at = i * ranking.k; at < (i + 1) * ranking.k; at++)
          if ((ranking.labels[at] as number) >= 0)
            parts.push(`${ranking.labels[at]}:${number(ranking.scores[at] as number)}`);
        yield parts.join(" ");
      }
    })(),
  );
}
