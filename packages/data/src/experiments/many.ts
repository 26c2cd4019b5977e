/** Several things that end together. */

/** Runs `work` with a list that things can be put on; they are disposed in reverse order however it ends. */
export async function withMany<T, R>(
  work: (things: (T & (AsyncDisposable | Disposable))[]) => Promise<R>,
): Promise<R> {
  const things: (T & (AsyncDisposable | Disposable))[] = [];
  try {
    return await work(things);
  } finally {
    for (const thing of things.reverse())
      if (Symbol.asyncDispose in thing) await thing[Symbol.asyncDispose]();
      else thing[Symbol.dispose]();
  }
}
