/** Samples that could not be used: counted, and named as far as a report can be read. */

/** skip: the batch is shorter; replace: another item, drawn from (seed, epoch, item), takes its place; fail: end. */
export type BadSamplePolicy = "skip" | "replace" | "fail";

export interface BadSample {
  readonly item: number;
  readonly name: string;
  readonly reason: string;
}

const namesKept = 100;

export class BadSampleLog {
  private total = 0;
  private readonly first: BadSample[] = [];
  private readonly seen = new Set<number>();

  add(sample: BadSample): void {
    this.total++;
    if (this.seen.has(sample.item) || this.first.length >= namesKept) return;
    this.seen.add(sample.item);
    this.first.push(sample);
  }

  /** Occurrences over all epochs. */
  get count(): number {
    return this.total;
  }

  /** The first hundred different ones. */
  get named(): readonly BadSample[] {
    return this.first;
  }
}
