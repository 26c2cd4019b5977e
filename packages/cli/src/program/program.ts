/** The program: the tree of commands under one root, the flags they share, and the way from argv to an exit code. */
import { MillraceError, suggestion } from "@millrace/core";
import { Command, CommanderError } from "commander";
import { describeFailure, exitOf, failureJson } from "../failure.ts";
import { type GlobalFlags, Session, type Surroundings } from "../session.ts";
import { type Paint, unpainted, wantsColour } from "../ui/paint.ts";
import { benchCommands } from "./bench.ts";
import { calibrateCommands } from "./calibrate.ts";
import { catalogueCommands } from "./catalogue.ts";
import { clusterCommands } from "./cluster.ts";
import { dataCommands } from "./data.ts";
import { engineCommands } from "./engine.ts";
import { extremeCommands } from "./extreme.ts";
import { memoryCommands } from "./memory.ts";
import { modelCommands } from "./models.ts";
import { servingCommands } from "./serving.ts";
import { setupCommands } from "./setup.ts";
import { traceCommands } from "./trace.ts";
import { addCommand, type CommandSpec, examplesText } from "./tree.ts";
import { version } from "./version.ts";

const helpGroup = "Help and set-up:";

const description =
  "Keeps training and serving of deep models free of stalls: predicts, runs for real, compares, reports.";

const rootExamples: CommandSpec["examples"] = [
  ["millrace init plan && millrace plan --config plan.yaml", "the cheapest deployment for a load"],
  ["millrace init && millrace simulate --config run.yaml", "one deployment in detail"],
  ["millrace help simulate", "flags and examples of a command"],
];

/** The command tree. `done` takes the exit code of the command that ran. */
export function buildProgram(surroundings: Surroundings, done: (exit: number) => void): Command {
  const program = new Command("millrace")
    .description(description)
    .version(version, "-V, --version", "print the version")
    .helpOption("-h, --help", "print help")
    .option("--json", "print one JSON object on stdout; errors are JSON on stderr")
    .option("-q, --quiet", "no remarks and no progress")
    .option("-v, --verbose", "more remarks")
    .option("--debug", "show the stack of an error")
    .option("--no-color", "no colours (also: NO_COLOR)")
    .helpCommand(false)
    .addHelpText("after", () => examplesText(rootExamples));
  const open = (command: Command) =>
    new Session(surroundings, command.optsWithGlobals() as GlobalFlags);
  const own: readonly CommandSpec[] = [helpSpec(program), completionSpec(program)];
  for (const spec of [
    ...servingCommands,
    ...calibrateCommands,
    ...benchCommands,
    ...traceCommands,
    ...engineCommands,
    ...modelCommands,
    ...memoryCommands,
    ...extremeCommands,
    ...dataCommands,
    ...clusterCommands,
    ...catalogueCommands,
    ...setupCommands,
    ...own,
  ])
    addCommand(program, spec, open, done);
  forEachCommand(program, (command) => {
    command.exitOverride();
    command.configureHelp({
      showGlobalOptions: true,
      // The program's own: a command between has flags for itself alone.
      visibleGlobalOptions: (of) => (of.parent === null ? [] : [...program.options]),
      styleTitle: (text) => helpPaint(surroundings)("strong", text),
      styleCommandText: (text) => helpPaint(surroundings)("name", text),
      styleOptionText: (text) => helpPaint(surroundings)("name", text),
      styleSubcommandText: (text) => helpPaint(surroundings)("name", text),
      helpWidth: Math.min(surroundings.stdout.columns ?? 100, 100),
    });
    command.configureOutput({
      writeOut: (text) => surroundings.stdout.write(text),
      writeErr: () => undefined,
      getOutHasColors: () => helpPaint(surroundings) !== unpainted,
    });
  });
  return program;
}

/** Runs a command line and returns the exit code; failures are told on stderr. */
export async function run(argv: readonly string[], surroundings: Surroundings): Promise<number> {
  let exit = 0;
  const program = buildProgram(surroundings, (code) => {
    exit = code;
  });
  try {
    if (
      argv.every((arg) => arg.startsWith("-") && !["-h", "--help", "-V", "--version"].includes(arg))
    )
      checkRootFlags(program, argv);
    else await program.parseAsync([...argv], { from: "user" });
    return exit;
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return 0;
    const failure = error instanceof CommanderError ? usageError(error, program, argv) : error;
    tellFailure(failure, argv, surroundings);
    return exitOf(failure);
  }
}

/** No command: the help, unless a flag is wrong. */
function checkRootFlags(program: Command, argv: readonly string[]): void {
  const known = program.options.flatMap((option) => [option.short, option.long]);
  for (const arg of argv)
    if (!known.includes(arg)) {
      const near = suggestion(
        arg,
        known.filter((flag) => flag !== undefined && flag !== null),
      );
      throw new MillraceError("USAGE", `unknown flag ${arg}`, {
        hint: near ?? "millrace help lists the commands",
      });
    }
  program.outputHelp();
}

function tellFailure(error: unknown, argv: readonly string[], surroundings: Surroundings): void {
  const { stderr, environment } = surroundings;
  const debug = argv.includes("--debug") || environment.MILLRACE_DEBUG === "1";
  if (argv.includes("--json")) {
    stderr.write(`${JSON.stringify(failureJson(error, debug))}\n`);
    return;
  }
  const session = new Session(surroundings, { color: !argv.includes("--no-color") });
  stderr.write(`${describeFailure(error, session.paintNote, debug).join("\n")}\n`);
}

/** Commander's complaint in our words, with a did-you-mean of our own. */
function usageError(
  error: CommanderError,
  program: Command,
  argv: readonly string[],
): MillraceError {
  const [sentence = ""] = error.message.replace(/^error: /, "").split("\n");
  const quoted = /'([^']*)'/.exec(sentence)?.[1] ?? "";
  const command = commandOf(program, argv);
  const path = pathOf(command);
  if (error.code === "commander.unknownCommand") {
    const names = command.commands.flatMap((child) => [child.name(), ...child.aliases()]);
    return new MillraceError("USAGE", `unknown command ${quoted}`, {
      hint:
        suggestion(quoted, names) ??
        `${path === "millrace" ? "millrace help" : `${path} --help`} lists the commands`,
    });
  }
  if (error.code === "commander.excessArguments" && command.commands.length > 0) {
    // A command that runs by itself and has subcommands takes a misspelt one for an argument.
    const word = argv.find((arg, i) => !arg.startsWith("-") && i > argv.indexOf(command.name()));
    const near = suggestion(
      word ?? "",
      command.commands.map((child) => child.name()),
    );
    return new MillraceError("USAGE", `unknown command ${word ?? ""} of ${path}`, {
      hint: near ?? `${path} --help lists the commands`,
    });
  }
  if (error.code === "commander.unknownOption") {
    const flags = [...command.options, ...program.options].flatMap((option) =>
      option.long ? [option.long] : [],
    );
    return new MillraceError("USAGE", `unknown flag ${quoted} of ${path}`, {
      hint: suggestion(quoted.replace(/=.*/, ""), flags) ?? `${path} --help lists the flags`,
    });
  }
  return new MillraceError("USAGE", sentence.replace(/^option /, "flag ").replace(/\.$/, ""), {
    hint: `${path} --help shows how it is used`,
  });
}

/** The command that argv names, as deep as it can be followed. */
function commandOf(program: Command, argv: readonly string[]): Command {
  let command = program;
  for (const arg of argv) {
    if (arg.startsWith("-")) continue;
    const child = command.commands.find((c) => c.name() === arg);
    if (child === undefined) break;
    command = child;
  }
  return command;
}

function pathOf(command: Command): string {
  const names: string[] = [];
  for (let at: Command | null = command; at !== null; at = at.parent) names.unshift(at.name());
  return names.join(" ");
}

function forEachCommand(command: Command, visit: (command: Command) => void): void {
  visit(command);
  for (const child of command.commands) forEachCommand(child, visit);
}

function helpPaint(surroundings: Surroundings): Paint {
  const { stdout, environment } = surroundings;
  if (!wantsColour(stdout.isTTY === true, environment)) return unpainted;
  return new Session(surroundings, {}).paint;
}

function helpSpec(program: Command): CommandSpec {
  return {
    usage: "help [command...]",
    group: helpGroup,
    summary: "help of a command",
    text: "Prints the help of a command, or the list of commands.",
    run: async (_session, { args }) => {
      const words = (args as readonly unknown[])[0] as readonly string[] | undefined;
      let command = program;
      for (const word of words ?? []) {
        const names = command.commands.map((child) => child.name());
        const child = command.commands.find((c) => c.name() === word);
        if (child === undefined)
          throw new MillraceError("USAGE", `unknown command ${word}`, {
            hint: suggestion(word, names) ?? "millrace help lists the commands",
          });
        command = child;
      }
      command.outputHelp();
      return 0;
    },
  };
}

function completionSpec(program: Command): CommandSpec {
  return {
    usage: "completion <shell>",
    group: helpGroup,
    summary: "completion script for bash, zsh or fish",
    text: "Prints a script that completes commands, flags and their values.",
    argumentChoices: [["bash", "zsh", "fish"]],
    examples: [
      ["source <(millrace completion bash)", "bash, this shell (or in ~/.bashrc)"],
      ["source <(millrace completion zsh)", "zsh, after compinit (or in ~/.zshrc)"],
      ["millrace completion fish > ~/.config/fish/completions/millrace.fish", "fish"],
    ],
    run: async (session, { args }) => {
      const { completionScript } = await import("../completion/index.ts");
      session.print(await completionScript(args[0] ?? "", program));
      return 0;
    },
  };
}
