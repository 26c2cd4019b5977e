/** The sending end of the canary: a thread that writes the time of each event into a connection over loopback. */
import { createServer } from "node:net";
import { parentPort, workerData } from "node:worker_threads";

const { intervalMs } = workerData as { readonly intervalMs: number };

const server = createServer({ noDelay: true }, (socket) => {
  const timer = setInterval(() => {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64LE(process.hrtime.bigint());
    socket.write(bytes);
  }, intervalMs);
  socket.on("error", () => {});
  socket.on("close", () => clearInterval(timer));
});
server.listen(0, "127.0.0.1", () => {
  parentPort?.postMessage((server.address() as { readonly port: number }).port);
});
