/**
 * What jobs ask of the service they share: bytes of cache and producers, each for its own part, so that their sums count.
 * Producers have to be started anew for it, so it is done between two epochs of the job that spoke last; a job that leaves
 * takes its part along when somebody speaks next.
 */
export interface Resources {
  readonly cacheBytes: number;
  readonly producers: number;
}

export class Wishes {
  private readonly wishes = new Map<number, Partial<Resources>>();
  private afterEpoch: number | null = null;

  /** `epoch` is the job's. Throws Error on what is no amount. */
  say(job: number, wish: Partial<Resources>, epoch: number): void {
    const { cacheBytes = 0, producers = 1 } = wish;
    if (!(cacheBytes >= 0)) throw new Error(`a cache of ${cacheBytes} bytes`);
    if (!(Number.isSafeInteger(producers) && producers >= 1 && producers <= 1024))
      throw new Error(`${producers} producers`);
    this.wishes.set(job, { ...this.wishes.get(job), ...wish });
    this.afterEpoch = epoch;
  }

  leave(job: number): void {
    this.wishes.delete(job);
  }

  /** What is to be from now on, when a job has got to this epoch; null: as it is. */
  due(epoch: number, now: Resources): Resources | null {
    if (this.afterEpoch === null || epoch <= this.afterEpoch) return null;
    this.afterEpoch = null;
    const total = (name: keyof Resources): number => {
      const said = [...this.wishes.values()].flatMap((wish) => wish[name] ?? []);
      return said.length === 0 ? now[name] : said.reduce((a, b) => a + b, 0);
    };
    const wanted = { cacheBytes: Math.floor(total("cacheBytes")), producers: total("producers") };
    const same = wanted.cacheBytes === now.cacheBytes && wanted.producers === now.producers;
    return same ? null : wanted;
  }
}
