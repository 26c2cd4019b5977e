/** Linear regression for small problems: fits of step costs, a few columns and up to some hundred thousand rows. */
import { invariant } from "./errors.ts";

/**
 * The w that minimizes |rows w - y|^2. One row per observation, each with the same number of columns (add a column of
 * ones for an intercept). Householder QR with column pivoting on columns scaled to length 1; columns that depend on
 * others to within 1e-12 get weight 0, so that the result is always finite. Throws InvariantError when lengths differ
 * or a value is not finite. O(rows * columns^2).
 */
export function leastSquares(rows: readonly Float64Array[], y: Float64Array): Float64Array {
  const m = rows.length;
  const n = rows[0]?.length ?? 0;
  invariant(y.length === m, `${m} rows but ${y.length} values`);
  // Column-major, so that the inner loops run along memory.
  const columns = Array.from({ length: n }, () => new Float64Array(m));
  for (let i = 0; i < m; i++) {
    const row = rows[i] as Float64Array;
    invariant(row.length === n, `row ${i} has ${row.length} columns, the first has ${n}`);
    invariant(Number.isFinite(y[i]), `value ${i} is ${y[i]}`);
    for (let j = 0; j < n; j++) {
      const x = row[j] as number;
      invariant(Number.isFinite(x), `row ${i}, column ${j} is ${x}`);
      (columns[j] as Float64Array)[i] = x;
    }
  }
  const scale = columns.map((column) => norm(column, 0) || 1);
  for (let j = 0; j < n; j++) {
    const column = columns[j] as Float64Array;
    for (let i = 0; i < m; i++) column[i] = (column[i] as number) / (scale[j] as number);
  }
  const rest = y.slice();
  const order = Array.from({ length: n }, (_, j) => j);
  const diagonal = new Float64Array(n);
  let rank = 0;
  for (let k = 0; k < Math.min(m, n); k++) {
    let best = k;
    let longest = -1;
    for (let j = k; j < n; j++) {
      const length = norm(columns[order[j] as number] as Float64Array, k);
      if (length > longest) {
        longest = length;
        best = j;
      }
    }
    if (longest < 1e-12) break;
    const held = order[k] as number;
    order[k] = order[best] as number;
    order[best] = held;
    // The reflector that clears the column below row k is kept in place; the diagonal of R goes aside.
    const v = columns[order[k] as number] as Float64Array;
    const head = v[k] as number;
    const alpha = head > 0 ? -longest : longest;
    diagonal[k] = alpha;
    v[k] = head - alpha;
    const scaleV = 2 / (2 * longest * (longest + Math.abs(head)));
    for (let j = k + 1; j < n; j++)
      reflect(columns[order[j] as number] as Float64Array, v, k, scaleV);
    reflect(rest, v, k, scaleV);
    rank++;
  }
  const weights = new Float64Array(n);
  for (let k = rank - 1; k >= 0; k--) {
    let sum = rest[k] as number;
    for (let j = k + 1; j < rank; j++) {
      const column = order[j] as number;
      sum -= ((columns[column] as Float64Array)[k] as number) * (weights[column] as number);
    }
    weights[order[k] as number] = sum / (diagonal[k] as number);
  }
  for (let j = 0; j < n; j++) weights[j] = (weights[j] as number) / (scale[j] as number);
  return weights;
}

function norm(x: Float64Array, from: number): number {
  let largest = 0;
  for (let i = from; i < x.length; i++) largest = Math.max(largest, Math.abs(x[i] as number));
  if (largest === 0) return 0;
  let sum = 0;
  for (let i = from; i < x.length; i++) sum += ((x[i] as number) / largest) ** 2;
  return largest * Math.sqrt(sum);
}

/** x -= v (2 v.x / v.v), rows k and below. */
function reflect(x: Float64Array, v: Float64Array, k: number, scaleV: number): void {
  let dot = 0;
  for (let i = k; i < x.length; i++) dot += (x[i] as number) * (v[i] as number);
  dot *= scaleV;
  for (let i = k; i < x.length; i++) x[i] = (x[i] as number) - dot * (v[i] as number);
}
