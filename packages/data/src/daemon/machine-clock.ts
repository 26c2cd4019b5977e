/** A clock that all processes of this machine share (CLOCK_MONOTONIC; Python calls it time.monotonic), seconds. */
export function machineSeconds(): number {
  return Number(process.hrtime.bigint()) / 1e9;
}

const offset = machineSeconds() - performance.now() / 1000;

/** A time of this process's performance.now on that clock. */
export function onMachineClock(milliseconds: number): number {
  return offset + milliseconds / 1000;
}
