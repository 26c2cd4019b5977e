/** Names and texts of error numbers, from libuv's own table. */
import { constants } from "node:os";
import { getSystemErrorMap } from "node:util";

const names = new Map<number, string>(
  Object.entries(constants.errno).map(([name, value]) => [value, name]),
);

/** `ENOMEM` and "not enough memory" of an errno; unknown numbers keep the number in the name. */
export function errnoName(errno: number): { readonly name: string; readonly message: string } {
  const known = getSystemErrorMap().get(-errno);
  return {
    name: names.get(errno) ?? `errno ${errno}`,
    message: known?.[1] ?? "no text is known for it",
  };
}
