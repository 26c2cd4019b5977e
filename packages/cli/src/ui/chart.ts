/** Charts out of characters: a sparkline, a bar, and a cumulative distribution in braille dots. */

const steps = "▁▂▃▄▅▆▇█";

/** One character per value, the highest of which fills the cell; NaN is a blank. */
export function sparkline(values: readonly number[]): string {
  const finite = values.filter(Number.isFinite);
  const top = Math.max(0, ...finite);
  return values
    .map((value) => {
      if (!Number.isFinite(value)) return " ";
      const level = top === 0 ? 0 : Math.round((value / top) * (steps.length - 1));
      return steps[Math.max(0, level)];
    })
    .join("");
}

/** A bar of `cells` cells filled to `share` (0 … 1), in eighths of a cell. */
export function bar(share: number, cells: number): string {
  const eighths = Math.round(Math.min(1, Math.max(0, share)) * cells * 8);
  const full = Math.floor(eighths / 8);
  const part = eighths % 8 === 0 ? "" : ("▏▎▍▌▋▊▉"[(eighths % 8) - 1] ?? "");
  return ("█".repeat(full) + part).padEnd(cells, "░");
}

/** Dots of a braille cell, [column][row from the top]. */
const dots = [
  [0x01, 0x02, 0x04, 0x40],
  [0x08, 0x10, 0x20, 0x80],
] as const;

/**
 * Cumulative distribution of ascending samples as lines of braille, 2 x 4 dots a cell: x from `low` to `high` on a
 * logarithmic axis, y from 0 at the bottom to 1 at the top. `[]` without samples or when the range is empty.
 */
export function brailleCdf(
  sorted: ArrayLike<number>,
  { cells, lines, low, high }: { cells: number; lines: number; low: number; high: number },
): readonly string[] {
  if (sorted.length === 0 || !(low > 0) || !(high > low)) return [];
  const grid = Array.from({ length: lines }, () => new Uint8Array(cells));
  const columns = cells * 2;
  const rows = lines * 4;
  const rowAt = (column: number): number => {
    const x = low * (high / low) ** ((column + 1) / columns);
    const share = countUpTo(sorted, x) / sorted.length;
    return Math.min(rows - 1, Math.round(share * (rows - 1)));
  };
  let before = 0;
  for (let column = 0; column < columns; column++) {
    const row = rowAt(column);
    // A jump is drawn as a vertical stroke, so that the line has no holes.
    for (let y = Math.min(before + 1, row); y <= row; y++) set(grid, column, rows - 1 - y);
    before = row;
  }
  return grid.map((line) => [...line].map((bits) => String.fromCharCode(0x2800 + bits)).join(""));
}

function set(grid: readonly Uint8Array[], column: number, row: number): void {
  const line = grid[row >> 2];
  const cell = column >> 1;
  if (line === undefined) return;
  line[cell] = (line[cell] ?? 0) | (dots[column & 1 ? 1 : 0][row & 3] ?? 0);
}

function countUpTo(sorted: ArrayLike<number>, x: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((sorted[middle] ?? 0) <= x) low = middle + 1;
    else high = middle;
  }
  return low;
}
