/** Lines over a socket, with a bound on their length. */
import type { Socket } from "node:net";

/**
 * Calls `line` for every line that arrives, without its end. A line longer than `most` characters ends the reading:
 * `tooLong` is called once and the rest is dropped.
 */
export function readLines(
  socket: Socket,
  most: number,
  line: (text: string) => void,
  tooLong: () => void,
): void {
  let rest = "";
  let reading = true;
  socket.setEncoding("utf8").on("data", (chunk: string) => {
    if (!reading) return;
    const lines = (rest + chunk).split("\n");
    rest = lines.pop() as string;
    for (const text of lines) {
      if (text.length > most) break;
      if (text !== "") line(text);
    }
    if (rest.length <= most && lines.every((text) => text.length <= most)) return;
    reading = false;
    rest = "";
    tooLong();
  });
}
