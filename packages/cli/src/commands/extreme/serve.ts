/** `millrace extreme serve`: a model over HTTP. */
import { formatNumber, MillraceError } from "@millrace/core";
import { defaultServeOptions, ExtremeServer, type IndexKind, Predictor } from "@millrace/extreme";
import type { Session } from "../../session.ts";

interface ServeFlags {
  readonly model?: string;
  readonly host?: string;
  readonly port?: number;
  readonly maxBatch?: number;
  readonly index?: IndexKind;
  readonly recall?: number;
}

export async function extremeServeCommand(
  session: Session,
  given: Readonly<Record<string, unknown>>,
): Promise<number> {
  const { model, index, recall, ...listen } = given as ServeFlags;
  if (model === undefined)
    throw new MillraceError("USAGE", "no model is named", { hint: "add --model DIR" });
  const { host, port, maxBatch } = { ...defaultServeOptions, ...listen };
  const predictor = Predictor.load(model, {
    ...(index === undefined ? {} : { index }),
    ...(recall === undefined ? {} : { recall }),
  });
  const { check } = predictor;
  session.note(
    `${predictor.stored.model.labels} labels, ${predictor.index} index, recall@${check.k} ${formatNumber(check.recall)} on ${check.points} training points${check.probes === null ? "" : `, ${check.probes} lists a point`}${check.candidates === null ? "" : `, ${check.candidates} candidates a point`}`,
  );
  return session.interruptible(async (signal) => {
    const server = await ExtremeServer.start(predictor, { host, port, maxBatch });
    session.surroundings.stderr.write(`listening on ${server.url}\n`);
    await new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      else signal.addEventListener("abort", () => resolve(), { once: true });
    });
    await server.close();
    return 0;
  });
}
