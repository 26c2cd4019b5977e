/** Time to first token against prompt length, with the deadline. */
import { lineChart, type Section } from "@millrace/report";
import type { RequestRecord, Targets } from "../contracts.ts";
import { promptTokensOf, ttftTargetUs } from "../metrics/targets.ts";

/** Lengths are put into so many groups. */
const GROUPS = 12;

/** Median and p90 of TTFT by prompt length; null when lengths do not differ or are not known. */
export function ttftSection(records: readonly RequestRecord[], { ttft }: Targets): Section | null {
  const known = records
    .filter(({ status, firstTokenUs }) => status === "ok" && firstTokenUs >= 0)
    .map((record) => ({
      tokens: promptTokensOf(record),
      seconds: (record.firstTokenUs - record.scheduledUs) / 1e6,
    }))
    .filter((one): one is { tokens: number; seconds: number } => one.tokens !== null)
    .sort((a, b) => a.tokens - b.tokens);
  const [first, last] = [known[0], known.at(-1)];
  if (first === undefined || last === undefined || last.tokens < first.tokens * 1.2) return null;
  const size = Math.max(1, Math.ceil(known.length / GROUPS));
  const groups = Array.from({ length: Math.ceil(known.length / size) }, (_, i) =>
    known.slice(i * size, (i + 1) * size),
  );
  const of = (share: number) =>
    groups.map((group) => {
      const sorted = group.map(({ seconds }) => seconds).sort((a, b) => a - b);
      const x = group.reduce((sum, { tokens }) => sum + tokens, 0) / group.length;
      return { x, y: sorted[Math.floor(share * (sorted.length - 1))] as number };
    });
  const target = groups.flatMap((group) => {
    const x = group.reduce((sum, { tokens }) => sum + tokens, 0) / group.length;
    return [{ x, y: ttftTargetUs(ttft, Math.round(x)) / 1e6 }];
  });
  return {
    id: "prompts",
    heading: "Time to first token by prompt length",
    short: "Prompts",
    blocks: [
      {
        kind: "charts",
        columns: 1,
        charts: [
          {
            title: "Time to first token by prompt length",
            caption: `groups of ${size} requests; from the time of the schedule, so that queueing is in it`,
            svg: lineChart({
              title: "Time to first token by prompt length",
              width: 880,
              series: [
                { name: "median", points: of(0.5) },
                { name: "p90", points: of(0.9) },
                { name: "deadline", points: target },
              ],
              x: { label: "prompt tokens", format: "whole" },
              y: { label: "time to first token", format: "seconds" },
            }),
          },
        ],
      },
    ],
  };
}
