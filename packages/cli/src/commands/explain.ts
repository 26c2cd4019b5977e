/** `millrace explain`: what an error code means and what to do. */
import { errorCodes, MillraceError, suggestion } from "@millrace/core";
import type { Session } from "../session.ts";
import { table } from "../ui/table.ts";
import { wrap } from "../ui/width.ts";

/** Codes that are not thrown as MillraceError. */
const further = {
  INTERNAL: {
    exit: 1,
    title: "A defect of Millrace",
    text: "Something happened that the program does not foresee. Run the command again with --debug and report the stack together with the output of `millrace doctor`.",
  },
} as const;

export async function explainCommand(session: Session, code: string | undefined): Promise<number> {
  const all: Readonly<Record<string, { exit: number; title: string; text: string }>> = {
    ...errorCodes,
    ...further,
  };
  if (code === undefined) {
    const codes = Object.entries(all);
    if (session.json)
      session.printJson({
        schema: "millrace.explain/1",
        codes: codes.map(([name, entry]) => ({ code: name, ...entry })),
      });
    else
      session.print(
        table(
          [{ title: "code" }, { title: "exit", align: "right" }, { title: "meaning", least: 20 }],
          codes.map(([name, entry]) => [name, String(entry.exit), entry.title]),
          session,
        ),
      );
    return 0;
  }
  const name = code.toUpperCase().replaceAll("-", "_");
  const entry = Object.hasOwn(all, name) ? all[name] : undefined;
  if (entry === undefined)
    throw new MillraceError("USAGE", `unknown error code ${code}`, {
      hint: suggestion(name, Object.keys(all)) ?? "millrace explain lists the codes",
    });
  if (session.json)
    session.printJson({ schema: "millrace.explain/1", codes: [{ code: name, ...entry }] });
  else
    session.print([
      `${session.paint("strong", name)}  ${entry.title}`,
      "",
      ...wrap(entry.text, Math.min(session.width, 90)),
      "",
      `Exit code ${entry.exit}.`,
    ]);
  return 0;
}
