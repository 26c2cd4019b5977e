/** Least squares with coefficients of at least 0, by coordinate descent on the normal equations. For a few dozen columns. */

/** Minimises |rows w - y|^2 over w >= 0. Deterministic; stops when no coefficient moves by more than 1e-10 of its column. */
export function nonNegativeLeastSquares(
  rows: readonly Float64Array[],
  y: Float64Array,
): Float64Array {
  const columns = rows[0]?.length ?? 0;
  const gram = Array.from({ length: columns }, () => new Float64Array(columns));
  const moment = new Float64Array(columns);
  const scale = new Float64Array(columns);
  for (const row of rows) for (let j = 0; j < columns; j++) scale[j]! += row[j]! * row[j]!;
  for (let j = 0; j < columns; j++) scale[j] = Math.sqrt(scale[j]!) || 1;
  rows.forEach((row, i) => {
    for (let j = 0; j < columns; j++) {
      const x = row[j]! / scale[j]!;
      moment[j]! += x * y[i]!;
      const line = gram[j]!;
      for (let k = 0; k < columns; k++) line[k]! += (x * row[k]!) / scale[k]!;
    }
  });
  const w = new Float64Array(columns);
  const size = Math.sqrt(y.reduce((sum, v) => sum + v * v, 0)) || 1;
  for (let round = 0; round < 20_000; round++) {
    let moved = 0;
    for (let j = 0; j < columns; j++) {
      const line = gram[j]!;
      if (line[j]! < 1e-12) continue;
      let gradient = moment[j]!;
      for (let k = 0; k < columns; k++) gradient -= line[k]! * w[k]!;
      const next = Math.max(0, w[j]! + gradient / line[j]!);
      moved = Math.max(moved, Math.abs(next - w[j]!));
      w[j] = next;
    }
    if (moved < 1e-10 * size) break;
  }
  for (let j = 0; j < columns; j++) w[j] = w[j]! / scale[j]!;
  return w;
}
