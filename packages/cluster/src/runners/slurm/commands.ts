/** Slurm's own programs, by their arguments; what may pass is tried again, what does not is said with Slurm's words. */
import { execFile } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { MillraceError } from "@millrace/core";

/** Runs Slurm programs. */
export interface SlurmCommands {
  /**
   * What the program prints. `what` names the order in messages. Rejects with RUNNER_FAILED, after three tries when Slurm
   * could not be reached.
   */
  run(
    what: string,
    program: string,
    args: readonly string[],
    signal?: AbortSignal,
    environment?: Readonly<Record<string, string>>,
  ): Promise<string>;
}

/** Controllers restart and sockets time out; the next try mostly comes through. */
const passing =
  /unable to contact slurm controller|socket timed out|connection (refused|reset)|zero bytes were transmitted|resource temporarily unavailable/i;
const waitsMs = [200, 1000, 3000];

/** Programs of the PATH; `conf` is their SLURM_CONF, null for the system's. */
export function slurmCommands(conf: string | null): SlurmCommands {
  const base: Readonly<Record<string, string | undefined>> = {
    PATH: `${process.env["PATH"] ?? ""}:/usr/bin:/bin`,
    ...(conf === null ? {} : { SLURM_CONF: conf }),
    // Times and words as we read them.
    LC_ALL: "C",
  };
  const once = (
    program: string,
    args: readonly string[],
    signal: AbortSignal | undefined,
    environment: Readonly<Record<string, string>>,
  ): Promise<{ out: string; problem: string | null }> =>
    new Promise((resolve) => {
      execFile(
        program,
        args,
        {
          env: { ...environment, ...base },
          encoding: "utf8",
          timeout: 20_000,
          maxBuffer: 1 << 28,
          ...(signal === undefined ? {} : { signal }),
        },
        (error, out, said) => {
          const line = said.trim().split("\n")[0] ?? "";
          resolve({ out, problem: error === null ? null : line === "" ? error.message : line });
        },
      );
    });
  return {
    async run(what, program, args, signal, environment = {}) {
      for (let tries = 0; ; tries++) {
        signal?.throwIfAborted();
        const { out, problem } = await once(program, args, signal, environment);
        if (problem === null) return out;
        const wait = waitsMs[tries];
        if (wait !== undefined && passing.test(problem)) await sleep(wait, undefined, { signal });
        else
          throw new MillraceError("RUNNER_FAILED", `${what}: ${program} said: ${problem}`, {
            hint: "scontrol ping and sinfo show whether Slurm is well",
          });
      }
    },
  };
}
