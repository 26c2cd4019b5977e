/** `millrace extreme get`: a public data set, checked. */
import { MillraceError } from "@millrace/core";
import { catalogue, fetchDataset, manifestOf } from "@millrace/extreme";
import type { Session } from "../../session.ts";
import { table } from "../../ui/table.ts";

export async function extremeGetCommand(
  session: Session,
  name: string | undefined,
  given: Readonly<Record<string, unknown>>,
): Promise<number> {
  const { out } = given as { readonly out?: string };
  if (name === undefined) {
    if (session.json)
      session.printJson({ schema: "millrace.extreme-get/1", catalogue, fetched: [] });
    else
      session.print(
        table(
          [{ title: "name" }, { title: "what", least: 20 }],
          catalogue.map((set) => [set.name, set.about]),
          session,
        ),
      );
    return 0;
  }
  const manifest = manifestOf(name);
  if (out === undefined)
    throw new MillraceError("USAGE", "no folder is named", { hint: "add --out DIR" });
  const progress = session.progress();
  const fetched = await session.interruptible((signal) =>
    fetchDataset(
      manifest,
      out,
      (file, done, total) => progress.update({ phase: file, done, total }),
      signal,
    ),
  );
  progress.end();
  if (session.json)
    session.printJson({ schema: "millrace.extreme-get/1", name: manifest.name, out, fetched });
  else
    session.print([
      `${manifest.files.length} files in ${out}, ${fetched.length} of them fetched; all checksums agree`,
      `licence: ${manifest.licence}`,
    ]);
  return 0;
}
