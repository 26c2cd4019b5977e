/** What the filling left over for jobs that span servers: the best choice that fits on all of them. */
import type { Choice } from "../../profile/options.ts";
import type { Board } from "./board.ts";
import type { Seat } from "./fill.ts";

/** Raises spanning jobs in the order in which they were seated. */
export function upgradeSpanning(board: Board): void {
  if (board.spanning.length === 0) return;
  const cpus = new Float64Array(board.servers);
  const bytes = new Float64Array(board.servers);
  for (const { parts } of board.spanning)
    for (const { server } of parts) {
      const room = board.room(server);
      cpus[server] = room.cpus;
      bytes[server] = room.hostBytes;
      for (const { choice } of board.seats[server] as Seat[]) {
        cpus[server]! -= choice.cpus;
        bytes[server]! -= choice.hostBytes;
      }
    }
  for (const { seat, parts } of board.spanning) {
    if (seat.fixed) continue;
    let chosen: Choice = seat.choice;
    for (const choice of seat.job.options.choices) {
      if (choice.speed <= chosen.speed) continue;
      const fits = parts.every(({ server, gpus }) => {
        const part = gpus / seat.job.gpus;
        return (
          (choice.cpus - seat.choice.cpus) * part <= (cpus[server] as number) + 1e-6 &&
          (choice.hostBytes - seat.choice.hostBytes) * part <= (bytes[server] as number) + 1
        );
      });
      if (fits) chosen = choice;
    }
    for (const { server, gpus } of parts) {
      const part = gpus / seat.job.gpus;
      cpus[server]! -= (chosen.cpus - seat.choice.cpus) * part;
      bytes[server]! -= (chosen.hostBytes - seat.choice.hostBytes) * part;
    }
    seat.choice = chosen;
  }
}
