/**
 * A stream with known send times, received beside all others: how late the client reads is what it adds to every figure.
 * The sender is a thread of its own, so that a busy event loop delays the reading and not the sending; both read one clock.
 */
import { connect, type Socket } from "node:net";
import { Worker } from "node:worker_threads";

const INTERVAL_MS = 10;

/**
 * The sending thread: writes the time of each event into its connection. Text, because a thread cannot load TypeScript
 * sources, and this has to work from sources and from built modules alike.
 */
const SENDER = `
const { createServer } = require("node:net");
const { parentPort, workerData } = require("node:worker_threads");
const server = createServer({ noDelay: true }, (socket) => {
  const timer = setInterval(() => {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64LE(process.hrtime.bigint());
    socket.write(bytes);
  }, workerData.intervalMs);
  socket.on("error", () => {});
  socket.on("close", () => clearInterval(timer));
});
server.listen(0, "127.0.0.1", () => parentPort.postMessage(server.address().port));
`;

export class Canary {
  /** µs from run start at which events came, and how long after they were sent. */
  readonly atUs: number[] = [];
  readonly latenessUs: number[] = [];
  private readonly thread: Worker;
  private readonly socket: Socket;

  private constructor(thread: Worker, socket: Socket, clock: () => number) {
    this.thread = thread;
    this.socket = socket;
    let rest: Buffer = Buffer.alloc(0);
    socket.on("data", (bytes) => {
      const now = process.hrtime.bigint();
      const all = rest.length === 0 ? bytes : Buffer.concat([rest, bytes]);
      let at = 0;
      for (; at + 8 <= all.length; at += 8) {
        this.latenessUs.push(Number(now - all.readBigUInt64LE(at)) / 1e3);
        this.atUs.push(clock());
      }
      rest = all.subarray(at);
    });
    socket.on("error", () => {});
  }

  /** Starts the stream. `clock`: µs from run start. */
  static async start(clock: () => number): Promise<Canary> {
    const thread = new Worker(SENDER, { eval: true, workerData: { intervalMs: INTERVAL_MS } });
    thread.unref();
    const port = await new Promise<number>((resolve, reject) => {
      thread.once("message", resolve);
      thread.once("error", reject);
    });
    const socket = connect({ host: "127.0.0.1", port, noDelay: true });
    socket.unref();
    return new Canary(thread, socket, clock);
  }

  async stop(): Promise<void> {
    this.socket.destroy();
    await this.thread.terminate();
  }
}
