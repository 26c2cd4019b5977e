/** `millrace bench mock`: an endpoint to try things on, without a model. */
import { type MockOptions, startMockProcess } from "@millrace/bench/mock";
import type { Session } from "../../session.ts";

export async function mockCommand(
  session: Session,
  flags: Readonly<Record<string, unknown>>,
): Promise<number> {
  const options = Object.fromEntries(
    Object.entries(flags).filter(([, value]) => value !== undefined),
  ) as MockOptions;
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
