/** A worker process of the queue, for tests that kill it: `queue-worker.ts URL NAME MODULE`. */
import { serveQueue } from "@millrace/sim/queue";

const [url, name, module] = process.argv.slice(2) as [string, string, string];
const signal = new AbortController().signal;
await serveQueue({ url, name, module: new URL(module), workers: 1, lockSeconds: 1, signal });
