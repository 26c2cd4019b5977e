/** What the system says of a path, as an error that names it and what to do. */
import { MillraceError } from "@millrace/core";
import { systemReason } from "@millrace/core/node";

const remedies: Readonly<Record<string, string>> = {
  EACCES: "let this user read it: files need r, folders r and x",
  EPERM: "let this user read it: files need r, folders r and x",
  EMFILE: "raise the limit of open files (ulimit -n)",
};

/** The error itself unless the system refused to read `path`, or a part of it; then FILE_UNREADABLE with the part's path. */
export function unreadable(error: unknown, path: string): unknown {
  if (!(error instanceof Error) || error instanceof MillraceError || !("syscall" in error))
    return error;
  const { code, path: part } = error as NodeJS.ErrnoException;
  const file = part ?? path;
  return new MillraceError("FILE_UNREADABLE", `${file}: ${systemReason(error)}`, {
    at: { file },
    cause: error,
    hint: remedies[code ?? ""] ?? "name the folder or file of the data set",
  });
}
