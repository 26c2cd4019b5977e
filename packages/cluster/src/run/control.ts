/** Asking a running scheduler: status, cancel, drain, over a unix socket in its folder. A line asks, a line answers. */
import { chmodSync, rmSync } from "node:fs";
import { connect, createServer, type Server } from "node:net";
import { MillraceError } from "@millrace/core";
import { peerOf } from "@millrace/system";
import { z } from "zod";

const requestSchema = z.discriminatedUnion("verb", [
  z.strictObject({ verb: z.literal("status") }),
  z.strictObject({ verb: z.literal("cancel"), ids: z.array(z.string()).min(1) }),
  z.strictObject({ verb: z.literal("drain"), server: z.string().nullable(), on: z.boolean() }),
]);

export type ControlRequest = z.infer<typeof requestSchema>;
export type ControlReply =
  | { readonly ok: true; readonly value: unknown }
  | { readonly ok: false; readonly message: string };

const longest = 65_536;

/** Answers requests; `answer` gets who asks, by the kernel's word. */
export async function serveControl(
  path: string,
  answer: (request: ControlRequest, uid: number) => ControlReply,
): Promise<AsyncDisposable> {
  rmSync(path, { force: true });
  const server: Server = createServer((socket) => {
    const { uid } = peerOf(socket);
    let text = "";
    socket.on("error", () => socket.destroy());
    socket.setEncoding("utf8").on("data", (chunk: string) => {
      text += chunk;
      const end = text.indexOf("\n");
      if (text.length > longest) socket.destroy();
      if (end < 0) return;
      socket.end(`${JSON.stringify(reply(text.slice(0, end), uid))}\n`);
    });
  });
  const reply = (line: string, uid: number): ControlReply => {
    try {
      return answer(requestSchema.parse(JSON.parse(line)), uid);
    } catch (error) {
      return { ok: false, message: (error as Error).message.slice(0, 200) };
    }
  };
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject).listen(path, resolve);
  });
  // Everybody may ask; what is done for whom is decided by who asks.
  chmodSync(path, 0o666);
  return {
    async [Symbol.asyncDispose]() {
      await new Promise((resolve) => server.close(resolve));
      rmSync(path, { force: true });
    },
  };
}

/** The answer of the scheduler at `path`, or null when none runs there. Throws MillraceError USAGE with its refusal. */
export async function askScheduler(path: string, request: ControlRequest): Promise<unknown> {
  const line = await new Promise<string | null>((resolve) => {
    const socket = connect(path);
    let text = "";
    socket.setTimeout(10_000, () => socket.destroy());
    socket.on("error", () => resolve(null));
    socket.setEncoding("utf8").on("data", (chunk: string) => {
      text += chunk;
    });
    socket.on("close", () => resolve(text === "" ? null : text));
    socket.write(`${JSON.stringify(request)}\n`);
  });
  if (line === null) return null;
  const reply = JSON.parse(line) as ControlReply;
  if (reply.ok) return reply.value;
  throw new MillraceError("USAGE", reply.message);
}
