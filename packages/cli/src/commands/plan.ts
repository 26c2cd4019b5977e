import { InvariantError } from "@millrace/core";
import type { Session } from "../session.ts";

export async function planCommand(
  session: Session,
  flags: Readonly<Record<string, unknown>>,
): Promise<number> {
  void [session, flags];
  throw new InvariantError("not built yet");
}
