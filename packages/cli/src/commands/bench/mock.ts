/** `millrace bench mock`: an endpoint to try things on, without a model. */
import { type MockOptions, startMockProcess } from "@millrace/bench/mock";
import { MillraceError } from "@millrace/core";
import type { Session } from "../../session.ts";

export async function mockCommand(
  session: Session,
  flags: Readonly<Record<string, unknown>>,
): Promise<number> {
  const { stall = [], clockOffset, ...rest } = flags;
  const options = {
    ...Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== undefined)),
    ...((stall as readonly string[]).length > 0 && {
      stalls: (stall as readonly string[]).map(stallOf),
    }),
    ...(clockOffset !== undefined && { clockOffsetMs: clockOffset as number }),
  } as MockOptions;
  return session.interruptible(async (signal) => {
    await using mock = await startMockProcess(options);
    if (session.json)
      session.printJson({
        schema: "millrace.bench-mock/1",
        url: mock.url,
        pid: mock.pid,
        ...options,
      });
    // Also with --quiet: programs wait for this line.
    session.surroundings.stderr.write(`a mock is served at ${mock.url}; Ctrl-C ends it\n`);
    if (!signal.aborted)
      await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
    return 0;
  });
}

const causes = ["scheduling", "compute", "frontend", "network"] as const;

/** `cause:token:ms`. */
function stallOf(text: string): NonNullable<MockOptions["stalls"]>[number] {
  const [, name, token, ms] = /^(\w+):(\d+):(\d+(?:\.\d+)?)$/.exec(text.trim()) ?? [];
  const cause = causes.find((one) => one === name);
  if (cause === undefined)
    throw new MillraceError("USAGE", `--stall: ${JSON.stringify(text)} is not understood`, {
      hint: `write cause:token:ms, e.g. scheduling:10:300; causes are ${causes.join(", ")}`,
    });
  return { cause, token: Number(token), ms: Number(ms) };
}
