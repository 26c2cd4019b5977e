/** A whole number with its thousands marked. Not toLocaleString: loading its data takes longer than a small simulation. */
export function formatWhole(value: number): string {
  return String(value).replace(/\B(?=(\d{3})+$)/g, ",");
}
