/** Runs of an operator over sets of tensors, which are masks of bits. */

/** What a forward choice makes, overwrites and takes; tensors as masks. */
export interface SetRun {
  readonly output: number;
  readonly outputSize: number;
  readonly auxiliary: number;
  readonly auxiliarySize: number;
  readonly inPlace: number;
  readonly workspace: number;
}

/** Memory that a run takes beyond what is live, from a set. */
export function extraOf(run: SetRun, set: number): number {
  return (
    ((set & run.output) !== 0 || run.inPlace !== 0 ? 0 : run.outputSize) +
    ((set & run.auxiliary) !== 0 ? 0 : run.auxiliarySize) +
    run.workspace
  );
}

/**
 * The parts of a run's result that may be there before it. All of it is among them only for a run that `must` take place:
 * to make again what is there in full is of no use.
 */
export function partsBefore({ output, auxiliary }: SetRun, must: boolean): number[] {
  const parts = auxiliary === 0 ? [0] : [0, output, auxiliary];
  return must ? [...parts, output | auxiliary] : parts;
}
