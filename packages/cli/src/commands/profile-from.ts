/** `millrace profile --from run.jsonl`: the step profile of a server of which only its tokens are known. */
import { hostname } from "node:os";
import { type RequestRecord, readRun } from "@millrace/bench";
import { formatNumber, formatSeconds, MillraceError } from "@millrace/core";
import { writeFileAtomic } from "@millrace/core/node";
import { fitBlackBox, type ObservedStream } from "@millrace/serving";
import type { Session } from "../session.ts";
import { facts, table } from "../ui/table.ts";

interface FromFlags {
  readonly from: string;
  readonly seed?: number;
  readonly out?: string;
}

export async function profileFromCommand(session: Session, flags: FromFlags): Promise<number> {
  const { from, seed = 42, out = "profile.json" } = flags;
  const { header, records } = await readRun(from);
  if (header.endpoint.choices > 1)
    throw new MillraceError("TRACE_INVALID", `${from} holds requests of several choices`, {
      hint: "record the run without --choices",
    });
  const streams = records.flatMap(streamOf);
  const fit = fitBlackBox(
    streams,
    {
      model: header.endpoint.model,
      machine: `behind ${header.endpoint.url}, seen from ${hostname()}`,
      date: header.startedAt.slice(0, 10),
    },
    seed,
  );
  writeFileAtomic(out, `${JSON.stringify(fit.profile, null, 1)}\n`);
  const { profile, ...rest } = fit;
  if (session.json) {
    session.printJson({
      schema: "millrace.profile-from/1",
      file: out,
      points: profile.points.length,
      ...rest,
      chunkTokens: Number.isFinite(fit.chunkTokens) ? fit.chunkTokens : null,
    });
    return 0;
  }
  session.print([
    `wrote ${out}`,
    ...facts(
      [
        ["model", profile.model],
        ["read off", `${fit.steps} steps of ${streams.length} answers`],
        [
          "prompts",
          Number.isFinite(fit.chunkTokens)
            ? `computed about ${fit.chunkTokens} tokens a step${fit.decodesCount ? ", decodes included" : ""}`
            : "computed whole",
        ],
        [
          "uncertainty",
          `±${formatNumber(100 * fit.uncertainty)} % of a load's step time, nine times in ten; plan carries it on`,
        ],
        [
          "held-out error",
          `${formatNumber(100 * fit.heldOut)} % of the time of steps that the fit had not seen`,
        ],
      ],
      { paint: session.paint, indent: 2 },
    ),
    "",
    ...table(
      [
        { title: "a step of", least: 20 },
        { title: "takes", align: "right" },
        { title: "9 in 10 resamples", align: "right" },
      ],
      fit.bands.map(({ work, seconds, low, high }) => [
        `${work.decodeRows} decodes${work.prefillTokens > 0 ? ` and ${formatNumber(work.prefillTokens)} prompt tokens` : ""}`,
        formatSeconds(seconds),
        `${formatSeconds(low)} – ${formatSeconds(high)}`,
      ]),
      { paint: session.paint, indent: 2 },
    ),
  ]);
  session.note(
    "\nsimulate and plan read it with predictor.type=profile; steps far from those seen are extrapolated and counted",
  );
  return 0;
}

/** Finished answers whose tokens are counted; the prompt as the server counted it, else as it was asked for. */
function streamOf(record: RequestRecord): readonly ObservedStream[] {
  const prompt = record.usage?.promptTokens ?? record.askedPromptTokens;
  if (record.warmup || record.status !== "ok" || prompt === null) return [];
  const tokenAt: number[] = [];
  record.chunks.timeUs.forEach((us, i) => {
    // Tokens that came in one chunk came in one step or were held back: the step shows once.
    if ((record.chunks.tokens[i] as number) > 0) tokenAt.push(us / 1e6);
  });
  return tokenAt.length === 0
    ? []
    : [{ startedAt: record.startedUs / 1e6, promptTokens: Math.max(1, prompt), tokenAt }];
}
