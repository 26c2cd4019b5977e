/** `millrace model`: GGUF files with random weights, and what a GGUF file holds. */
import { formatBytes, formatCount, MillraceError } from "@millrace/core";
import { type ModelChoice, makeModel, modelInfo, openGguf } from "@millrace/ggml/gguf";
import type { Session } from "../session.ts";
import { formatWhole } from "../ui/numbers.ts";
import { facts } from "../ui/table.ts";

type MakeFlags = Partial<ModelChoice>;

/** Bytes of the keys and values of one token at fp16. */
const kvBytes = (layers: number, kvHeads: number, headDim: number): number =>
  2 * 2 * layers * kvHeads * headDim;

export async function makeModelCommand(
  session: Session,
  given: Readonly<Record<string, unknown>>,
): Promise<number> {
  const { preset = "small", out, ...rest } = given as MakeFlags;
  if (out === undefined)
    throw new MillraceError("USAGE", "no file is named", {
      hint: "add --out, e.g. millrace model make --preset small --out small.gguf",
    });
  const progress = session.progress();
  const written = makeModel({
    ...rest,
    preset,
    out,
    onProgress: (done, total) =>
      progress.update({ phase: "writing", done, total, note: formatBytes(total) }),
  });
  progress.end();
  if (session.json) session.printJson({ schema: "millrace.model-make/1", ...written });
  else session.note(`wrote ${out}, ${formatBytes(written.bytes)}`);
  return 0;
}

export async function modelInfoCommand(session: Session, file: string): Promise<number> {
  using gguf = openGguf(file);
  const info = modelInfo(gguf);
  const kvBytesPerToken = kvBytes(info.layers, info.kvHeads, info.headDim);
  if (session.json) {
    session.printJson({ schema: "millrace.model-info/1", file, ...info, kvBytesPerToken });
    return 0;
  }
  const { paint } = session;
  const share = (parameters: number): string =>
    `${Math.round((100 * parameters) / info.parameters)} %`;
  const token = (id: number | null): string => (id === null ? "none" : String(id));
  session.print([
    paint("strong", info.name),
    ...facts(
      [
        ["architecture", info.architecture],
        ["parameters", `${formatCount(info.parameters)}, ${formatBytes(info.fileBytes)} on disk`],
        ["formats", info.formats.map((f) => `${f.type} ${share(f.parameters)}`).join(", ")],
        ["layers", `${info.layers} of width ${formatWhole(info.dim)}`],
        ["heads", `${info.heads}, ${info.kvHeads} for KV, ${info.headDim} wide`],
        ["KV cache", `${formatBytes(kvBytesPerToken)} per token at fp16`],
        ["context", `${formatWhole(info.contextTokens)} tokens`],
        [
          "vocabulary",
          `${formatWhole(info.vocabularySize)} tokens, begin ${token(info.bosToken)}, end ${token(info.eosToken)}`,
        ],
        ["chat template", info.chatTemplate === null ? "none" : "in the file"],
      ],
      { paint, indent: 2 },
    ),
  ]);
  return 0;
}
