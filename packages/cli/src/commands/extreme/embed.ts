/** `millrace extreme embed`: points as the vectors of another model. */
import { formatCount, MillraceError } from "@millrace/core";
import { embedDataset } from "@millrace/extreme";
import type { Session } from "../../session.ts";

interface EmbedFlags {
  readonly data?: string;
  readonly model?: string;
  readonly out?: string;
  readonly tokens?: number;
  readonly threads?: number;
}

export async function extremeEmbedCommand(
  session: Session,
  given: Readonly<Record<string, unknown>>,
): Promise<number> {
  const { data, model, out, tokens, threads } = given as EmbedFlags;
  if (data === undefined || model === undefined || out === undefined)
    throw new MillraceError("USAGE", "embed needs a data set, a model and a folder to write", {
      hint: "millrace extreme embed --data DIR --model FILE.gguf --out DIR2",
    });
  const progress = session.progress();
  const embedded = await session.interruptible((signal) =>
    embedDataset(data, {
      model,
      out,
      ...(tokens === undefined ? {} : { tokens }),
      ...(threads === undefined ? {} : { threads }),
      signal,
      onProgress: (done, total) => progress.update({ phase: "embedding", done, total }),
    }),
  );
  progress.end();
  if (session.json)
    session.printJson({ schema: "millrace.extreme-embed/1", data, model, out, ...embedded });
  else
    session.print([
      `${formatCount(embedded.texts)} texts, ${embedded.dim} dimensions, in ${out}: train with --data ${out} --features vectors`,
    ]);
  return 0;
}
