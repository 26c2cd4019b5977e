/** A small picture of points and lines out of braille dots, with its axes: for curves over a rate or a length. */

/** What is drawn: a line through the points, or the points alone. */
export interface PlotSeries {
  readonly kind: "line" | "points";
  readonly points: readonly (readonly [x: number, y: number])[];
}

export interface PlotOptions {
  /** Cells of the picture without its axes. */
  readonly cells: number;
  readonly lines: number;
  readonly x: PlotAxis;
  readonly y: PlotAxis;
}

export interface PlotAxis {
  readonly low: number;
  readonly high: number;
  /** Equal steps are equal factors. */
  readonly log?: boolean;
  readonly format: (value: number) => string;
}

/** Bits of a braille cell, [column][row from the top]. */
const bits = [
  [0x01, 0x02, 0x04, 0x40],
  [0x08, 0x10, 0x20, 0x80],
] as const;

/**
 * The lines of the picture: highest and lowest y at the left, lowest and highest x below. What lies outside is left out.
 * `[]` when an axis is empty or, on a logarithmic one, not above 0.
 */
export function braillePlot(
  series: readonly PlotSeries[],
  options: PlotOptions,
): readonly string[] {
  const { cells, lines, x, y } = options;
  if (!usable(x) || !usable(y)) return [];
  const [columns, rows] = [2 * cells, 4 * lines];
  const grid = Array.from({ length: lines }, () => new Uint8Array(cells));
  const dot = (column: number, row: number): void => {
    const line = grid[(rows - 1 - row) >> 2];
    if (line === undefined || column < 0 || column >= columns || row < 0) return;
    const bit = bits[column & 1 ? 1 : 0][(rows - 1 - row) & 3] ?? 0;
    line[column >> 1] = (line[column >> 1] ?? 0) | bit;
  };
  const place = ([px, py]: readonly [number, number]): readonly [number, number] => [
    share(x, px) * (columns - 1),
    share(y, py) * (rows - 1),
  ];
  for (const { kind, points } of series) {
    const placed = points.map(place).filter(([c, r]) => Number.isFinite(c) && Number.isFinite(r));
    placed.forEach(([column, row], i) => {
      if (kind === "points" || i === 0) {
        dot(Math.round(column), Math.round(row));
        return;
      }
      const [c0, r0] = placed[i - 1] as readonly [number, number];
      const steps = Math.max(1, Math.ceil(Math.max(Math.abs(column - c0), Math.abs(row - r0))));
      for (let s = 1; s <= steps; s++)
        dot(
          Math.round(c0 + ((column - c0) * s) / steps),
          Math.round(r0 + ((row - r0) * s) / steps),
        );
    });
  }
  const [top, bottom] = [y.format(y.high), y.format(y.low)];
  const margin = Math.max(top.length, bottom.length);
  const body = grid.map((line, i) => {
    const label = i === 0 ? top : i === lines - 1 ? bottom : "";
    const picture = [...line].map((b) => String.fromCharCode(0x2800 + b)).join("");
    return `${label.padStart(margin)} ${i === 0 || i === lines - 1 ? "┤" : "│"}${picture}`;
  });
  const [left, right] = [x.format(x.low), x.format(x.high)];
  const gap = " ".repeat(Math.max(1, cells - left.length - right.length));
  return [...body, `${" ".repeat(margin + 2)}${left}${gap}${right}`];
}

function usable({ low, high, log = false }: PlotAxis): boolean {
  return high > low && Number.isFinite(high - low) && (!log || low > 0);
}

function share({ low, high, log = false }: PlotAxis, value: number): number {
  return log ? Math.log(value / low) / Math.log(high / low) : (value - low) / (high - low);
}
