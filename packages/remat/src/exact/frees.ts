/** Which tensors to free so that an action fits: all smallest sets. */

/**
 * Calls `take` with every inclusion-minimal set of the tensors in the two words whose sizes sum up to at least `excess`
 * (all > 0). Since freeing costs nothing and what is kept can be freed later, no other set needs to be tried.
 */
export function minimalFrees(
  outputs: number,
  auxiliaries: number,
  sizes: Float64Array,
  auxiliarySizes: Float64Array,
  excess: number,
  take: (outputs: number, auxiliaries: number, freed: number) => void,
): void {
  const bits: { readonly size: number; readonly output: number; readonly auxiliary: number }[] = [];
  for (let i = 0; outputs >>> i !== 0; i++)
    if ((outputs >>> i) & 1) bits.push({ size: sizes[i] as number, output: 1 << i, auxiliary: 0 });
  for (let i = 0; auxiliaries >>> i !== 0; i++)
    if ((auxiliaries >>> i) & 1)
      bits.push({ size: auxiliarySizes[i] as number, output: 0, auxiliary: 1 << i });
  bits.sort((x, y) => y.size - x.size);
  // rest[i]: what bits i … can free together.
  const rest = new Float64Array(bits.length + 1);
  for (let i = bits.length - 1; i >= 0; i--)
    rest[i] = (rest[i + 1] as number) + (bits[i]?.size as number);
  const go = (i: number, sum: number, o: number, a: number): void => {
    // Sizes descend, so the set is minimal exactly when it fell short before its last member.
    if (sum >= excess) {
      take(o, a, sum);
      return;
    }
    if (i === bits.length || sum + (rest[i] as number) < excess) return;
    const { size, output, auxiliary } = bits[i] as (typeof bits)[0];
    if (size > 0) go(i + 1, sum + size, o | output, a | auxiliary);
    go(i + 1, sum, o, a);
  };
  go(0, 0, 0, 0);
}
