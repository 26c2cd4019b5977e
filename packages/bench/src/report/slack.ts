/** Slack over time: how far ahead of their deadlines the tokens of chosen requests were. */
import { lineChart, type Section } from "@millrace/report";
import type { RequestRecord, Targets } from "../contracts.ts";
import { requestFluidity } from "../metrics/fluidity.ts";
import { recordTargetUs } from "../metrics/targets.ts";
import { tokenGaps } from "../metrics/token-streams.ts";

/** Slack after each token of the first choice, s, over seconds since the request was due; negative where it was late. */
export function slackCurve(
  record: RequestRecord,
  targets: Targets,
): readonly { readonly x: number; readonly y: number }[] {
  const [gaps = new Float64Array(0)] = tokenGaps(record, record.scheduledUs);
  let slack = 0;
  let now = 0;
  const points: { x: number; y: number }[] = [];
  gaps.forEach((gap, i) => {
    now += gap;
    slack += (i === 0 ? recordTargetUs(targets.ttft, record) : targets.tbtUs) - gap;
    points.push({ x: now / 1e6, y: slack / 1e6 });
    // A late token starts the count anew.
    if (slack < 0) slack = 0;
  });
  return points;
}

/** The worst, a middling and the best answered request; null when fewer than three were answered. */
export function slackSection(records: readonly RequestRecord[], targets: Targets): Section | null {
  const scored = records
    .filter(({ status, tokens }) => status === "ok" && tokens > 1)
    .map((record) => ({
      record,
      ...requestFluidity(record, { targets, arithmetic: "exact" }),
    }))
    .sort((a, b) => a.index - b.index || b.missed - a.missed);
  const chosen = [0, Math.floor(scored.length / 2), scored.length - 1].map((i) => scored[i]);
  if (scored.length < 3) return null;
  const names = ["worst", "middling", "best"];
  return {
    id: "slack",
    heading: "Slack over time",
    short: "Slack",
    blocks: [
      {
        kind: "prose",
        text: "Early tokens build up slack that later stalls may use; below zero a token came after its deadline, and the count starts anew.",
      },
      {
        kind: "charts",
        columns: 1,
        charts: [
          {
            title: "Slack after each token",
            caption: `requests ${chosen.map((one) => one?.record.id).join(", ")}: the lowest, the middle and the highest fluidity-index`,
            svg: lineChart({
              title: "Slack after each token of three requests",
              width: 880,
              series: chosen.flatMap((one, i) =>
                one === undefined
                  ? []
                  : [
                      {
                        name: `${names[i]}: ${one.index.toFixed(2)}`,
                        points: [...slackCurve(one.record, targets)],
                      },
                    ],
              ),
              x: { label: "since the request was due", format: "seconds" },
              y: { label: "slack", format: "seconds" },
            }),
          },
        ],
      },
    ],
  };
}
