/** The client's own quality, as a section of the report of a run. */
import { lineChart, type Section, writeNumber } from "@millrace/report";
import type { BenchReport, RunData } from "../contracts.ts";
import { ms } from "./ms.ts";

/** How good the client was while it measured. */
export function clientSection({ end }: RunData, { self, tokens }: BenchReport): Section | null {
  if (self === null) return null;
  const { canary, startLateness, eventLoop, limits } = self;
  const row = (name: string, value: typeof canary, limitUs: number | null) => ({
    cells: [
      name,
      ...[value.p50, value.p90, value.p99, value.max].map((us) => us / 1e6),
      limitUs === null ? "none" : ms(limitUs / 1e3),
    ],
  });
  const points = self.workers.flatMap(({ worker, canaryAtUs, canaryLatenessUs }) => [
    {
      name: self.workers.length > 1 ? `process ${worker + 1}` : "canary",
      points: worstPerBin(canaryAtUs, canaryLatenessUs),
    },
  ]);
  const sources = Object.entries(tokens.sources).map(([source, n]) => `${source} in ${n} requests`);
  return {
    id: "client",
    heading: "The client's own quality",
    short: "Client",
    blocks: [
      {
        kind: "prose",
        text: `A stream with known send times was received beside all others: how late it was read is what the client may have added to every figure. Token counts come from ${sources.join(", ") || "nothing"}; ${tokens.compared === 0 ? "there was no second count to compare them with" : `${tokens.differ} of ${tokens.compared} differ from the server's usage`}.`,
      },
      {
        kind: "table",
        columns: [
          { header: "", kind: "text" },
          ...["p50", "p90", "p99", "max"].map(
            (header) => ({ header, kind: "number", format: "seconds" }) as const,
          ),
          { header: "limit of p99", kind: "text" },
        ],
        rows: [
          row("canary read late", canary, limits.canaryP99Us),
          row("requests started late", startLateness, limits.startLatenessP99Us),
          row("event loop delayed", eventLoop, null),
        ],
        note: `${writeNumber(self.textChunksPerRead, "number")} chunks per read, ${writeNumber(self.cores, "number")} cores in ${self.workers.length} process(es), run ended: ${end?.reason ?? "killed"}.`,
      },
      {
        kind: "charts",
        columns: 1,
        charts: [
          {
            title: "Canary lateness over the run",
            caption: "the worst of each of 200 spans",
            svg: lineChart({
              title: "Canary lateness over the run",
              width: 880,
              series: points,
              x: { label: "time", format: "seconds" },
              y: { label: "read late", format: "seconds" },
            }),
          },
        ],
      },
    ],
  };
}

const BINS = 200;

function worstPerBin(
  atUs: readonly number[],
  lateUs: readonly number[],
): { x: number; y: number }[] {
  const last = atUs.at(-1) ?? 0;
  const worst = new Float64Array(BINS).fill(-1);
  atUs.forEach((at, i) => {
    const bin = Math.max(0, Math.min(BINS - 1, Math.floor((at / last) * BINS)));
    worst[bin] = Math.max(worst[bin] as number, lateUs[i] as number);
  });
  return [...worst.entries()]
    .filter(([, late]) => late >= 0)
    .map(([bin, late]) => ({ x: (((bin + 0.5) / BINS) * last) / 1e6, y: late / 1e6 }));
}
