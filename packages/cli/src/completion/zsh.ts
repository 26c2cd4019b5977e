/** The completion script for zsh. */
import type { CommandModel } from "./model.ts";

const key = (path: readonly string[]) => path.map((name) => `/${name}`).join("");

/** A word and its description for `_describe`; the colon separates them, quotes are doubled out. */
function entry(word: string, text: string): string {
  return `'${word.replaceAll(":", "\\:")}:${text.replaceAll("'", "'\\''")}'`;
}

/** Completes with descriptions; where it knows no values, file names. */
export function zshScript(models: readonly CommandModel[]): string {
  const paths = models.filter((model) => model.path.length > 0).map((model) => key(model.path));
  const values = models.flatMap((model) =>
    model.flags.flatMap((flag) => {
      if (flag.values === null) return [];
      const patterns = flag.names.map((name) => `"${key(model.path)} ${name}"`).join("|");
      const action = flag.values.length === 0 ? "_files" : `compadd -- ${flag.values.join(" ")}`;
      return [`    ${patterns}) ${action}; return ;;`];
    }),
  );
  const words = models.map((model) => {
    const commands = [
      ...model.commands.map((command) => entry(command.name, command.text)),
      ...model.values.map((value) => entry(value, "")),
    ];
    const flags = model.flags.flatMap((flag) =>
      flag.names.filter((name) => name.startsWith("--")).map((name) => entry(name, flag.text)),
    );
    return `    "${key(model.path)}")
      words_=(${commands.join(" ")})
      flags_=(${flags.join(" ")}) ;;`;
  });
  return `#compdef millrace
# zsh completion of millrace: source <(millrace completion zsh), after compinit
_millrace() {
  local path_="" i prev="\${words[CURRENT-1]}"
  local -a words_ flags_
  for ((i = 2; i < CURRENT; i++)); do
    case "$path_/\${words[i]}" in
      ${paths.join("|")}) path_="$path_/\${words[i]}" ;;
    esac
  done
  case "$path_ $prev" in
${values.join("\n")}
  esac
  case "$path_" in
${words.join("\n")}
  esac
  if [[ "\${words[CURRENT]}" == -* ]]; then
    _describe 'flag' flags_
  elif (( \${#words_} )); then
    _describe 'command' words_
  else
    _files
  fi
}
if [[ "$funcstack[1]" == "_millrace" ]]; then _millrace "$@"; else compdef _millrace millrace; fi`;
}
