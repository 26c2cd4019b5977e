import type { IncomingMessage } from "node:http";
import { Readable } from "node:stream";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, test } from "vitest";
import { KubeApi } from "./api.ts";
import type { Connection } from "./connection.ts";

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

/** A server behind which requests can be left hanging. */
class Line implements Connection {
  readonly server = "http://nowhere";
  readonly namespace = "default";
  hangs = false;

  open(...[, , , signal]: Parameters<Connection["open"]>): Promise<IncomingMessage> {
    if (this.hangs)
      return new Promise((_, reject) => {
        signal.addEventListener("abort", () => reject(signal.reason), { once: true });
      });
    const answer = Object.assign(Readable.from(["{}"]), { statusCode: 200, headers: {} });
    return Promise.resolve(Object.assign(answer, { complete: true }) as unknown as IncomingMessage);
  }
}

test("a request that hangs ends by its limit, also once the code is optimised and memory collected", async () => {
  const line = new Line();
  const api = new KubeApi(line, { requestMs: 50, callMs: 60, backoffMs: 5 });
  const { signal } = new AbortController();
  // Optimised code keeps nothing alive that it does not need any more.
  for (let i = 0; i < 8000; i++) await api.get("/warm", signal);
  line.hangs = true;
  const asked = api.get("/hangs", signal);
  setTimeout(collectGarbage, 10);
  setTimeout(collectGarbage, 25);
  await expect(asked).rejects.toMatchObject({ status: 0, reason: "NoAnswer" });
});
