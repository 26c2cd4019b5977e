/** Minimises a function of a few variables without derivatives (Nelder and Mead 1965); used for fits only. */

/** The best point found from `start` with a first simplex of size `step`. Deterministic; `evaluations` bounds the work. */
export function nelderMead(
  f: (x: readonly number[]) => number,
  start: readonly number[],
  step: number,
  evaluations = 600,
): { readonly x: readonly number[]; readonly value: number } {
  type Vertex = { x: number[]; value: number };
  const at = (x: number[]): Vertex => ({ x, value: f(x) });
  const simplex: Vertex[] = [at([...start])];
  start.forEach((_, i) => {
    const x = [...start];
    x[i] = (x[i] as number) + step;
    simplex.push(at(x));
  });
  const worstIndex = simplex.length - 1;
  const mix = (a: readonly number[], b: readonly number[], t: number): number[] =>
    a.map((v, i) => v + t * ((b[i] as number) - v));
  for (let used = simplex.length; used < evaluations; used += 2) {
    simplex.sort((a, b) => a.value - b.value);
    const best = simplex[0] as Vertex;
    const worst = simplex[worstIndex] as Vertex;
    const second = simplex[worstIndex - 1] as Vertex;
    if (worst.value - best.value < 1e-9 * Math.abs(best.value)) break;
    const centre = start.map(
      (_, i) => simplex.slice(0, -1).reduce((sum, v) => sum + (v.x[i] as number), 0) / worstIndex,
    );
    const reflected = at(mix(centre, worst.x, -1));
    let next = reflected;
    if (reflected.value < best.value) {
      const expanded = at(mix(centre, worst.x, -2));
      if (expanded.value < reflected.value) next = expanded;
    } else if (reflected.value >= second.value) {
      next = at(mix(centre, reflected.value < worst.value ? reflected.x : worst.x, 0.5));
      if (next.value >= Math.min(reflected.value, worst.value)) {
        for (let i = 1; i < simplex.length; i++)
          simplex[i] = at(mix(best.x, (simplex[i] as Vertex).x, 0.5));
        used += worstIndex;
        continue;
      }
    }
    simplex[worstIndex] = next;
  }
  simplex.sort((a, b) => a.value - b.value);
  const best = simplex[0] as Vertex;
  return { x: best.x, value: best.value };
}
