/** Events of one request on their way to its reader. */

/**
 * An AsyncIterable with one reader. It holds what the reader has not yet taken: at most the tokens the request may
 * generate, so a slow reader costs bounded memory and stalls nobody else.
 */
export class EventQueue<T> implements AsyncIterableIterator<T> {
  private readonly items: T[] = [];
  private first = 0;
  private ended = false;
  private waiting: ((result: IteratorResult<T>) => void) | null = null;
  private readonly left: () => void;

  /** `left` is called once when the reader goes before the end. */
  constructor(left: () => void) {
    this.left = left;
  }

  push(item: T): void {
    if (this.ended) return;
    const waiting = this.waiting;
    if (waiting === null) this.items.push(item);
    else {
      this.waiting = null;
      waiting({ done: false, value: item });
    }
  }

  /** No more items come; those here may still be taken. */
  end(): void {
    this.ended = true;
    const waiting = this.waiting;
    this.waiting = null;
    waiting?.({ done: true, value: undefined });
  }

  next(): Promise<IteratorResult<T>> {
    if (this.first < this.items.length) {
      const value = this.items[this.first++] as T;
      if (this.first === this.items.length) {
        this.items.length = 0;
        this.first = 0;
      }
      return Promise.resolve({ done: false, value });
    }
    if (this.ended) return Promise.resolve({ done: true, value: undefined });
    return new Promise((resolve) => {
      this.waiting = resolve;
    });
  }

  return(): Promise<IteratorResult<T>> {
    const early = !this.ended;
    this.end();
    this.items.length = 0;
    if (early) this.left();
    return Promise.resolve({ done: true, value: undefined });
  }

  [Symbol.asyncIterator](): AsyncIterableIterator<T> {
    return this;
  }
}
