/** The value at a place from the top, by quickselect. */

const scratch = new Float32Array(1 << 16);

/** The value at place `nth` (1-based) from the top of the first `n` values; `values` stay as they are. */
export function nthLargest(values: Float32Array, n: number, nth: number): number {
  const copy = n <= scratch.length ? scratch : new Float32Array(n);
  for (let i = 0; i < n; i++) copy[i] = values[i] as number;
  let low = 0;
  let high = n - 1;
  const wanted = nth - 1;
  while (low < high) {
    const pivot = copy[(low + high) >> 1] as number;
    let i = low;
    let j = high;
    while (i <= j) {
      while ((copy[i] as number) > pivot) i++;
      while ((copy[j] as number) < pivot) j--;
      if (i <= j) {
        const t = copy[i] as number;
        copy[i++] = copy[j] as number;
        copy[j--] = t;
      }
    }
    if (wanted <= j) high = j;
    else if (wanted >= i) low = i;
    else break;
  }
  return copy[wanted] as number;
}
