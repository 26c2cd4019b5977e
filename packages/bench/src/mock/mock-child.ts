/** The program of a mock in a process of its own. Ends with its parent. */
import type { MockOptions } from "./options.ts";
import { startMock } from "./server.ts";

process.on("disconnect", () => process.exit(0));
process.on("SIGINT", () => {});
process.once("message", (options: MockOptions) => {
  startMock(options).then(
    ({ url }) => process.send?.({ url }),
    (error: Error) => process.send?.({ error: error.message }),
  );
});
