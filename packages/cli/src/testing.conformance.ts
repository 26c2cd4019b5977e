/** Runs command lines in this process, as tests need them: what was printed where, and the exit code. */
import { run } from "./program/program.ts";

export interface Ran {
  readonly exit: number;
  readonly out: string;
  readonly err: string;
}

/** `millrace ...argv` on streams that are no terminals. */
export async function millrace(...argv: readonly string[]): Promise<Ran> {
  return millraceOn({}, ...argv);
}

/** The same with terminals of some width, or with an environment. */
export async function millraceOn(
  { columns, environment = {} }: { columns?: number; environment?: Record<string, string> },
  ...argv: readonly string[]
): Promise<Ran> {
  let out = "";
  let err = "";
  const terminal = columns === undefined ? {} : { isTTY: true, columns };
  const exit = await run(argv, {
    stdout: {
      ...terminal,
      write: (text) => {
        out += text;
        return true;
      },
    },
    stderr: {
      ...terminal,
      write: (text) => {
        err += text;
        return true;
      },
    },
    environment,
    now: () => 0,
  });
  return { exit, out, err };
}
