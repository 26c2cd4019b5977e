/** The completion script for fish. */
import type { CommandModel } from "./model.ts";

const quoted = (text: string) => `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;

/** One `complete` line per command, flag and set of values. */
export function fishScript(models: readonly CommandModel[]): string {
  const lines = models.flatMap((model) => {
    const at = condition(
      model.path,
      model.commands.map((command) => command.name),
    );
    const commands = model.commands.map(
      (command) => `complete -c millrace ${at} -f -a ${command.name} -d ${quoted(command.text)}`,
    );
    const values =
      model.values.length === 0
        ? []
        : [`complete -c millrace ${at} -f -a ${quoted(model.values.join(" "))}`];
    const flags = model.flags.map((flag) => {
      const names = flag.names.map((name) =>
        name.startsWith("--") ? `-l ${name.slice(2)}` : `-s ${name.slice(1)}`,
      );
      const takes =
        flag.values === null
          ? ""
          : flag.values.length === 0
            ? " -r"
            : ` -x -a ${quoted(flag.values.join(" "))}`;
      return `complete -c millrace ${at} ${names.join(" ")}${takes} -d ${quoted(flag.text)}`;
    });
    return [...commands, ...values, ...flags];
  });
  return `# fish completion of millrace: millrace completion fish > ~/.config/fish/completions/millrace.fish
${lines.join("\n")}`;
}

/** Every command of the path was seen, and none of those below. */
function condition(path: readonly string[], below: readonly string[]): string {
  const seen = path.map((name) => `__fish_seen_subcommand_from ${name}`);
  const not = below.length === 0 ? [] : [`not __fish_seen_subcommand_from ${below.join(" ")}`];
  return `-n ${quoted([...seen, ...not].join("; and "))}`;
}
