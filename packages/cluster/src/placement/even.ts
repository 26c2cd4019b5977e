/** Equal parts of a job on several servers, for engines that give every node of a job the same. */
import type { Part } from "./ledger.ts";

/**
 * As few equal parts as possible, on the first servers of the order that have room for one; null when there are not
 * enough, or the GPUs cannot be divided so.
 */
export function evenParts(
  gpus: number,
  order: readonly number[],
  hasRoom: (server: number, gpus: number) => boolean,
): readonly Part[] | null {
  for (let count = 1; count <= Math.min(gpus, order.length); count++) {
    if (gpus % count !== 0) continue;
    const part = gpus / count;
    const able = order.filter((server) => hasRoom(server, part));
    if (able.length >= count) return able.slice(0, count).map((server) => ({ server, gpus: part }));
  }
  return null;
}

/** Whether the job's GPUs are equal parts of servers with so many each, whatever is on them now. */
export function fitsEvenly(gpus: number, servers: readonly { readonly gpus: number }[]): boolean {
  const order = servers.map((_, s) => s);
  return evenParts(gpus, order, (s, part) => (servers[s]?.gpus ?? 0) >= part) !== null;
}
