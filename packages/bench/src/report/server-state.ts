/** What the server told of itself, drawn over the time of the stall raster. */
import { type Block, type TimelinePanel, timelineChart, writeNumber } from "@millrace/report";
import type { BenchReport, RequestRecord, RunData, ServerSamples } from "../contracts.ts";

const panels = [
  ["running", "Sequences running", "number"],
  ["waiting", "Sequences waiting", "number"],
  ["kvUse", "KV memory in use", "percent"],
] as const satisfies readonly (readonly [keyof ServerSamples, string, string])[];

/** Share of KV memory above which it is drawn against all there is; below, it would be a flat line. */
const SCARCE = 0.2;

/** The blocks that belong under the raster of `records`; none where nothing was read. */
export function serverBlocks(
  { end }: RunData,
  records: readonly RequestRecord[],
  { server }: BenchReport,
): readonly Block[] {
  const samples = end?.server;
  if (samples === undefined || server === null) return [];
  const remark: Block[] = server.remark === null ? [] : [{ kind: "note", text: server.remark }];
  const n = samples.atUs.length;
  if (n === 0) return remark;
  const last = records.reduce((most, { lastTokenUs }) => Math.max(most, lastTokenUs), 0);
  // The raster ends a hundredth behind its last token.
  const whole = last > 0 ? 1.01 * last : (samples.atUs[n - 1] ?? 0);
  // A reading stands until the next; the span before the first has no value and holds the axis to that of the raster.
  const starts = [0, ...samples.atUs].map((us) => Math.min(us, whole) / 1e6);
  const ends = [...samples.atUs, whole].map((us) => Math.min(us, whole) / 1e6);
  const drawn: TimelinePanel[] = panels.flatMap(([name, heading, format]) => {
    const column = samples[name];
    if (column.every((value) => value === null)) return [];
    const peak = column.reduce<number>((most, value) => Math.max(most, value ?? 0), 0);
    const values = [Number.NaN, ...column.map((value) => value ?? Number.NaN)];
    return [
      { name, heading, values, format, ...(name === "kvUse" && peak > SCARCE && { max: 1 }) },
    ];
  });
  if (drawn.length === 0) return remark;
  return [
    {
      kind: "charts",
      columns: 1,
      charts: [
        {
          title: "What the server told meanwhile",
          caption: `${writeNumber(n, "whole")} readings of ${server.dialect ?? "its"} metrics at ${server.url}, over the same time as the raster`,
          svg: timelineChart({
            title: "Running, waiting and KV memory over the run",
            count: starts.length,
            startsAt: starts,
            endsAt: ends,
            panels: drawn,
          }),
        },
      ],
    },
    { kind: "note", text: countersText(server) },
    ...remark,
  ];
}

function countersText({
  preemptions,
  promptTokens,
  generatedTokens,
}: NonNullable<BenchReport["server"]>): string {
  const told = [
    ["preemptions", preemptions],
    ["prompt tokens", promptTokens],
    ["generated tokens", generatedTokens],
  ] as const;
  const counts = told.map(([name, n]) =>
    n === null ? `${name}: not told` : `${writeNumber(n, "whole")} ${name}`,
  );
  return `Between the first and the last reading: ${counts.join(", ")}.`;
}
