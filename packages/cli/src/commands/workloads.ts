/** `millrace workloads`: built-in shapes, one shape in full, and shapes fitted to one's own log. */
import { basename } from "node:path";
import { formatNumber, formatPercent } from "@millrace/core";
import { readTextFile, writeFileAtomic } from "@millrace/core/node";
import {
  builtInShapes,
  fitShape,
  type LengthDistribution,
  readLengths,
  shapeByName,
  type WorkloadShape,
} from "@millrace/serving";
import type { Session } from "../session.ts";
import { sparkline } from "../ui/chart.ts";
import { formatWhole } from "../ui/numbers.ts";
import { facts, table } from "../ui/table.ts";

/** The value below which a share of the distribution lies, tokens. */
export function quantileOf({ tokens, cdf }: LengthDistribution, share: number): number {
  const k = Math.max(
    1,
    cdf.findIndex((below) => below >= share),
  );
  const [x0, x1] = [tokens[k - 1] ?? 0, tokens[k] ?? 0];
  const [y0, y1] = [cdf[k - 1] ?? 0, cdf[k] ?? 1];
  return Math.max(1, Math.round(y1 > y0 ? x0 + ((x1 - x0) * (share - y0)) / (y1 - y0) : x1));
}

/** Shares of 24 equal steps of the logarithm between the smallest and the largest length. */
function histogram({ tokens, cdf }: LengthDistribution): readonly number[] {
  const low = Math.max(1, tokens[0] ?? 1);
  const high = Math.max(low + 1, tokens.at(-1) ?? 1);
  const share = (x: number): number => {
    const k = tokens.findIndex((token) => token >= x);
    if (k <= 0) return k === 0 ? 0 : 1;
    const [x0, x1] = [tokens[k - 1] ?? 0, tokens[k] ?? 0];
    const [y0, y1] = [cdf[k - 1] ?? 0, cdf[k] ?? 1];
    return y0 + ((y1 - y0) * (x - x0)) / (x1 - x0);
  };
  const edge = (i: number) => low * (high / low) ** (i / 24);
  return Array.from({ length: 24 }, (_, i) => share(edge(i + 1)) - share(edge(i)));
}

export async function listWorkloads(session: Session): Promise<number> {
  const shapes = Object.values(builtInShapes);
  if (session.json) {
    session.printJson({ schema: "millrace.workloads/1", shapes });
    return 0;
  }
  session.print(
    table(
      [
        { title: "shape", least: 16 },
        { title: "prompt mean", align: "right" },
        { title: "p50", align: "right", drop: 3 },
        { title: "p99", align: "right", drop: 1 },
        { title: "output mean", align: "right" },
        { title: "p50", align: "right", drop: 4 },
        { title: "p99", align: "right", drop: 2 },
        { title: "requests", align: "right", drop: 5 },
      ],
      shapes.map((shape) => [
        shape.name,
        formatNumber(shape.prompt.mean),
        String(quantileOf(shape.prompt, 0.5)),
        String(quantileOf(shape.prompt, 0.99)),
        formatNumber(shape.output.mean),
        String(quantileOf(shape.output, 0.5)),
        String(quantileOf(shape.output, 0.99)),
        formatWhole(shape.n),
      ]),
      session,
    ),
  );
  session.note(
    `\n${shapes.length} shapes, in tokens. Use one with workload.shape; fit your own log with millrace workloads fit LOG.csv`,
  );
  return 0;
}

export async function showWorkload(session: Session, name: string): Promise<number> {
  const shape = shapeByName(name, {});
  if (session.json) session.printJson({ schema: "millrace.workloads/1", shapes: [shape] });
  else describeShape(session, shape);
  return 0;
}

export async function fitWorkload(
  session: Session,
  log: string,
  flags: Readonly<Record<string, unknown>>,
): Promise<number> {
  const rows = readLengths(readTextFile(log), log);
  const name = basename(log).replace(/\.[^.]*$/, "");
  const shape = fitShape(
    { name, source: basename(log) },
    rows.promptTokens,
    rows.outputTokens,
    rows.arrivedAt,
  );
  const { out } = flags as { readonly out?: string };
  if (out !== undefined) writeFileAtomic(out, `${JSON.stringify(shape, null, 2)}\n`);
  if (session.json) session.printJson({ schema: "millrace.workloads/1", shapes: [shape] });
  else {
    describeShape(session, shape);
    session.note(
      out === undefined
        ? "\n--out FILE writes the shape as JSON"
        : `\nwrote ${out}; use it with workload.shape: ${out}`,
    );
  }
  return 0;
}

function describeShape(session: Session, shape: WorkloadShape): void {
  const shares = [0.05, 0.25, 0.5, 0.75, 0.9, 0.99];
  const row = (name: string, lengths: LengthDistribution) => [
    name,
    formatNumber(lengths.mean),
    ...shares.map((share) => String(quantileOf(lengths, share))),
    String(lengths.tokens.at(-1) ?? ""),
    sparkline(histogram(lengths)),
  ];
  const { arrivals, distance } = shape;
  session.print([
    session.paint("strong", shape.name),
    ...facts(
      [
        ["requests", formatWhole(shape.n)],
        ["source", shape.source],
        ["tokenizer", shape.tokenizer],
        ["rank correlation", `${formatNumber(shape.rankCorrelation)} of prompt and output`],
        [
          "arrivals",
          arrivals === null
            ? "not in the log"
            : `${formatNumber(arrivals.qps)} per second, cv ${formatNumber(arrivals.cv)}`,
        ],
        [
          "fit",
          `largest error of a cumulative share: prompt ${formatPercent(distance.prompt)}, output ${formatPercent(distance.output)}`,
        ],
      ],
      { ...session, indent: 2 },
    ),
    "",
    ...table(
      [
        { title: "tokens" },
        { title: "mean", align: "right" },
        ...shares.map((share) => ({ title: `p${share * 100}`, align: "right" as const })),
        { title: "max", align: "right" },
        { title: "log scale", drop: 1 },
      ],
      [row("prompt", shape.prompt), row("output", shape.output)],
      { width: session.width, paint: session.paint, indent: 2 },
    ),
  ]);
}
