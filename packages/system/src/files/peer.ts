/** Who is at the other end of a unix socket, as the kernel says (SO_PEERCRED). */
import type { Socket } from "node:net";
import { failure, libc } from "../libc.ts";

export interface Peer {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

const SOL_SOCKET = 1;
const SO_PEERCRED = 17;

/** The process that connected. Throws MillraceError SYSTEM_CALL_FAILED when the socket is closed or not a unix one. */
export function peerOf(socket: Socket): Peer {
  const handle = (socket as unknown as { readonly _handle: { readonly fd: number } | null })
    ._handle;
  const words = new Uint32Array(3);
  const size = Uint32Array.of(12);
  const bytes = new Uint8Array(words.buffer);
  if (libc().getsockopt(handle?.fd ?? -1, SOL_SOCKET, SO_PEERCRED, bytes, size) !== 0)
    throw failure("getsockopt", "SO_PEERCRED");
  return { pid: words[0] as number, uid: words[1] as number, gid: words[2] as number };
}
