/** The completion script for bash. */
import type { CommandModel } from "./model.ts";

const key = (path: readonly string[]) => path.map((name) => `/${name}`).join("");

/** Completes words of the tree; where it knows none, bash completes file names. */
export function bashScript(models: readonly CommandModel[]): string {
  const paths = models.filter((model) => model.path.length > 0).map((model) => key(model.path));
  const values = models.flatMap((model) =>
    model.flags.flatMap((flag) => {
      if (flag.values === null) return [];
      const patterns = flag.names.map((name) => `"${key(model.path)} ${name}"`).join("|");
      return [`    ${patterns}) words="${flag.values.join(" ")}" ;;`];
    }),
  );
  const words = models.map((model) => {
    const all = [
      ...model.commands.map((command) => command.name),
      ...model.values,
      ...model.flags.flatMap((flag) => flag.names.filter((name) => name.startsWith("--"))),
    ];
    return `      "${key(model.path)}") words="${all.join(" ")}" ;;`;
  });
  return `# bash completion of millrace: source <(millrace completion bash)
_millrace() {
  local cur="\${COMP_WORDS[COMP_CWORD]}" prev="\${COMP_WORDS[COMP_CWORD-1]}"
  local path="" words="-" i
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "$path/\${COMP_WORDS[i]}" in
      ${paths.join("|")}) path="$path/\${COMP_WORDS[i]}" ;;
    esac
  done
  case "$path $prev" in
${values.join("\n")}
  esac
  if [[ "$words" == "-" ]]; then
    case "$path" in
${words.join("\n")}
    esac
  fi
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -o default -F _millrace millrace`;
}
