/** Whose jobs a file holds: they run as the file's owner, whoever runs the scheduler. */
import { execFileSync } from "node:child_process";
import { statSync } from "node:fs";
import { MillraceError } from "@millrace/core";
import type { JobUser } from "../runners/runner.ts";
import type { JobEntry } from "./jobs-file.ts";

/** Looks a user up by name or number in the system's databases. Throws CONFIG_INVALID when there is none. */
export function findUser(who: string): JobUser {
  try {
    const line = execFileSync("getent", ["passwd", who], { encoding: "utf8" });
    const [name = "", , uid, gid] = line.split(":");
    return { name, uid: Number(uid), gid: Number(gid) };
  } catch (cause) {
    throw new MillraceError("CONFIG_INVALID", `there is no user ${who} on this machine`, { cause });
  }
}

/**
 * The user of each job of a file, null for the scheduler's own. A scheduler of root's runs a file's jobs as its owner; only
 * a file that root owns and nobody else may write can name other users. Anybody else's scheduler runs jobs as itself.
 * Throws CONFIG_INVALID for a user that the file may not name.
 */
export function submittersOf(path: string): (entry: JobEntry) => JobUser | null {
  const { uid, mode } = statSync(path);
  const me = process.getuid?.() ?? 0;
  const owner = me === 0 && uid !== 0 ? findUser(String(uid)) : null;
  return ({ id, user }) => {
    if (user === undefined) return owner;
    const named = findUser(user);
    if (named.uid === (owner?.uid ?? me)) return owner;
    if (me === 0 && uid === 0 && (mode & 0o022) === 0) return named;
    throw new MillraceError("CONFIG_INVALID", `job ${id} may not run as ${user}`, {
      at: { file: path },
      hint:
        me === 0
          ? "only a file that root owns and nobody else may write names other users"
          : "only a scheduler that root runs can run jobs as other users",
    });
  };
}
