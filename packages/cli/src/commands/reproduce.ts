import { InvariantError } from "@millrace/core";
import type { Session } from "../session.ts";

export async function reproduceCommand(
  session: Session,
  name: string | undefined,
  flags: Readonly<Record<string, unknown>>,
): Promise<number> {
  void [session, name, flags];
  throw new InvariantError("not built yet");
}
