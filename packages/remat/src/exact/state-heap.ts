/** A binary heap of states by estimate; among equals the one with more live tensors, then the older one, comes first. */
export class StateHeap {
  private readonly ids: number[] = [];
  private readonly estimates: number[] = [];
  private readonly sizes: number[] = [];

  get length(): number {
    return this.ids.length;
  }

  /** Least estimate; the heap must not be empty. */
  get least(): number {
    return this.estimates[0] as number;
  }

  push(id: number, estimate: number, size: number): void {
    let i = this.ids.length;
    this.ids.push(id);
    this.estimates.push(estimate);
    this.sizes.push(size);
    while (i > 0) {
      const up = (i - 1) >> 1;
      if (!this.before(i, up)) break;
      this.swap(i, up);
      i = up;
    }
  }

  /** Removes and returns the first; the heap must not be empty. */
  pop(): number {
    const first = this.ids[0] as number;
    const last = this.ids.length - 1;
    this.swap(0, last);
    this.ids.pop();
    this.estimates.pop();
    this.sizes.pop();
    let i = 0;
    for (;;) {
      const left = 2 * i + 1;
      if (left >= last) break;
      const child = left + 1 < last && this.before(left + 1, left) ? left + 1 : left;
      if (!this.before(child, i)) break;
      this.swap(child, i);
      i = child;
    }
    return first;
  }

  private before(x: number, y: number): boolean {
    const d = (this.estimates[x] as number) - (this.estimates[y] as number);
    if (d !== 0) return d < 0;
    const s = (this.sizes[x] as number) - (this.sizes[y] as number);
    return s !== 0 ? s > 0 : (this.ids[x] as number) < (this.ids[y] as number);
  }

  private swap(x: number, y: number): void {
    for (const list of [this.ids, this.estimates, this.sizes]) {
      const held = list[x] as number;
      list[x] = list[y] as number;
      list[y] = held;
    }
  }
}
