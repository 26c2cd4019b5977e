/** A service in a process of its own, for tests that end it; options come as JSON. Prints "ready" when jobs may join. */
import type { ServiceOptions } from "./service-options.ts";
import { startService } from "./start-service.ts";

const service = await startService(JSON.parse(process.argv[2] as string) as ServiceOptions);
process.stdout.write("ready\n");
process.once("SIGTERM", () => {
  void service[Symbol.asyncDispose]().then(() => process.exit(0));
});
