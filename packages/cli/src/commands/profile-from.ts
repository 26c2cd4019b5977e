/** `millrace profile --from run.jsonl`: the step profile of a server of which only its tokens are known. */
import { hostname } from "node:os";
import { type RequestRecord, readRun } from "@millrace/bench";
import { formatNumber, formatSeconds, MillraceError } from "@millrace/core";
import { writeFileAtomic } from "@millrace/core/node";
import {
  fitBlackBox,
  type ObservedStream,
  type StepProfile,
  type StepWork,
} from "@millrace/serving";
import type { Session } from "../session.ts";
import { facts, table } from "../ui/table.ts";

interface FromFlags {
  readonly from: readonly string[];
  readonly seed?: number;
  readonly out?: string;
}

export async function profileFromCommand(session: Session, flags: FromFlags): Promise<number> {
  const { from, seed = 42, out = "profile.json" } = flags;
  const runs: (readonly ObservedStream[])[] = [];
  let about: Parameters<typeof fitBlackBox>[1] | null = null;
  for (const file of from) {
    const { header, records } = await readRun(file);
    const { choices, model, url } = header.endpoint;
    if (choices > 1)
      throw new MillraceError("TRACE_INVALID", `${file} holds requests of several choices`, {
        hint: "record the run without --choices",
      });
    if (about !== null && about.model !== model)
      throw new MillraceError("TRACE_INVALID", `${file} is of ${model}, not of ${about.model}`, {
        hint: "one profile is of one server",
      });
    runs.push(streamsOf(file, records));
    const machine = `behind ${url}, seen from ${hostname()}`;
    about = { model, machine, date: header.startedAt.slice(0, 10) };
  }
  if (about === null) throw new MillraceError("USAGE", "--from names no run");
  const fit = fitBlackBox(runs, about, seed);
  if (!Number.isFinite(fit.uncertainty))
    throw new MillraceError(
      "TRACE_INVALID",
      `${from.join(", ")}: what a fit learns from a part of the ${fit.steps} steps says nothing of the rest`,
      {
        hint: "record longer runs with several requests at once, and name several with --from; a server that answers within a few milliseconds hides its steps behind the network",
      },
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
        [
          "read off",
          `${fit.steps} steps of ${runs.flat().length} answers in ${runs.length === 1 ? "one run" : `${runs.length} runs`}`,
        ],
        [
          "prompts",
          Number.isFinite(fit.chunkTokens)
            ? `computed about ${fit.chunkTokens} tokens a step${fit.decodesCount ? ", decodes included" : ""}`
            : "computed whole",
        ],
        [
          "uncertainty",
          `a factor of ${formatNumber(1 + fit.uncertainty)} of a load's step time either way, nine times in ten; plan carries it on`,
        ],
        ["holds for", seenText(profile)],
        [
          "other lengths",
          `a factor of ${formatNumber(1 + fit.uncertaintyBeyond)}: steps like theirs were not seen; record such a run too, and name it with --from`,
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
      [...new Map(fit.bands.map((band) => [workText(band.work), band]))].map(
        ([text, { seconds, low, high }]) => [
          text,
          formatSeconds(seconds),
          Number.isFinite(high)
            ? `${formatSeconds(low)} – ${formatSeconds(high)}`
            : `${formatSeconds(low)} and more`,
        ],
      ),
      { paint: session.paint, indent: 2 },
    ),
  ]);
  session.note(
    "\nsimulate and plan read it with predictor.type=profile; steps far from those seen are extrapolated and counted",
  );
  return 0;
}

/** `2 decodes and 64 prompt tokens`. */
function workText({ decodeRows, prefillTokens }: StepWork): string {
  const decodes = `${decodeRows} decode${decodeRows === 1 ? "" : "s"}`;
  return prefillTokens > 0
    ? `${decodes} and ${formatNumber(prefillTokens)} prompt tokens`
    : decodes;
}

function seenText({ seen }: StepProfile): string {
  if (seen === undefined) return "lengths like those recorded";
  const { promptTokens: prompt, outputTokens: output } = seen;
  return `prompts of ${prompt[0]} to ${prompt[1]} tokens, answers of ${output[0]} to ${output[1]}`;
}

/** The answers of a run as streams of tokens. Throws TRACE_INVALID where they tell nothing of steps. */
function streamsOf(file: string, records: readonly RequestRecord[]): readonly ObservedStream[] {
  const measured = records.filter(({ warmup }) => !warmup);
  const finished = measured.filter(({ status }) => status === "ok");
  const streams = finished.flatMap(streamOf);
  const invalid = (what: string, hint: string): MillraceError =>
    new MillraceError("TRACE_INVALID", `${file} ${what}`, { hint });
  if (finished.length === 0)
    throw invalid(
      measured.length === 0
        ? "holds no requests"
        : `holds ${measured.length} requests, of which none finished`,
      "record a run whose requests are answered; millrace bench says why they are not",
    );
  const back = streams.find(({ startedAt, tokenAt }) =>
    tokenAt.some((at, i) => at < (tokenAt[i - 1] ?? startedAt)),
  );
  if (back !== undefined)
    throw invalid(
      `holds an answer whose tokens came before those before them (sent at ${formatSeconds(back.startedAt)})`,
      "the file was changed; give it as millrace bench wrote it",
    );
  if (streams.every(({ tokenAt }) => tokenAt.length < 2))
    throw invalid(
      `holds ${finished.length} answers, none of which came token by token`,
      "record a server that streams, and answers of several tokens",
    );
  return streams;
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
