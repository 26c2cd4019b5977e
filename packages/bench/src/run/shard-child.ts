/** The program of a shard's process. Ends with its parent. */
import { Shard } from "./shard.ts";
import type { FromShard, ToShard } from "./shard-protocol.ts";

let shard: Shard | null = null;

function send(message: FromShard): void {
  process.send?.(message, undefined, {}, () => {});
}

async function take(message: ToShard): Promise<void> {
  switch (message.kind) {
    case "configure":
      shard = new Shard(message.config, {
        started: (index) => send({ kind: "started", index }),
        ended: (index, end) => send({ kind: "ended", index, end }),
      });
      return;
    case "begin":
      await shard?.begin(message.epochNs, message.measure);
      return send({ kind: "begun" });
    case "give":
      return shard?.give(message.jobs);
    case "stop":
      return shard?.stop(message.drain);
    case "measure":
      return send({ kind: "measured", health: (await shard?.measure()) ?? null });
  }
}

process.on("disconnect", () => process.exit(0));
// Ctrl-C reaches the whole terminal group; the parent decides when a run ends.
process.on("SIGINT", () => {});
process.on("message", (message: ToShard) => {
  take(message).catch((error: Error) => send({ kind: "broken", message: error.message }));
});
