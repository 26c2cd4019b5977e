/**
 * The command tree: names, flags, examples and groups as data; help, completion and the dispatcher are made from it.
 * Nothing heavy is loaded here: a command's code is imported when the command runs, so that `millrace --help` and
 * `millrace simulate` start in a blink.
 */
import { MillraceError } from "@millrace/core";
import { type Command, Option } from "commander";
import type { Session } from "../session.ts";

/** A flag of a command. */
export interface FlagSpec {
  /** As commander writes it, e.g. `-o, --out <dir>`. */
  readonly flags: string;
  readonly text: string;
  /** Values it takes; also offered by completion. */
  readonly choices?: readonly string[];
  /** Values that completion offers while others are accepted too. */
  readonly suggestions?: "models" | "devices" | "schedulers" | "kv" | "shapes" | "codes";
  /** May be given several times. */
  readonly repeat?: boolean;
  /** Reads the value; throws MillraceError USAGE. */
  readonly parse?: (value: string) => unknown;
}

/** What a command gets: positional arguments and flags as commander read them. */
export interface Invocation {
  readonly args: readonly (string | undefined)[];
  readonly flags: Readonly<Record<string, unknown>>;
}

/** A command. */
export interface CommandSpec {
  /** Name and arguments, e.g. `init [kind] [file]`. */
  readonly usage: string;
  readonly summary: string;
  readonly text: string;
  readonly group?: string;
  readonly flags?: readonly FlagSpec[];
  readonly argumentChoices?: readonly (readonly string[])[];
  /** Command lines with what they do. */
  readonly examples?: readonly (readonly [string, string])[];
  readonly commands?: readonly CommandSpec[];
  /** Runs the command and returns the exit code. */
  readonly run?: (session: Session, invocation: Invocation) => Promise<number>;
}

/** What completion needs to know of an option beyond commander's own fields. */
export const suggestionsOf = new WeakMap<Option, NonNullable<FlagSpec["suggestions"]>>();

/** Hangs a command below `parent`; `open` makes the session of an invocation, `done` takes the exit code. */
export function addCommand(
  parent: Command,
  spec: CommandSpec,
  open: (command: Command) => Session,
  done: (exit: number) => void,
): void {
  const command = parent.command(spec.usage).summary(spec.summary).description(spec.text);
  if (spec.group !== undefined) command.helpGroup(spec.group);
  for (const flag of spec.flags ?? []) command.addOption(optionOf(flag));
  spec.argumentChoices?.forEach((choices, index) => {
    command.registeredArguments[index]?.choices(choices);
  });
  if (spec.examples !== undefined) command.addHelpText("after", () => examplesText(spec.examples));
  for (const child of spec.commands ?? []) addCommand(command, child, open, done);
  const { run } = spec;
  // Flags after a subcommand are the subcommand's own, also where its parent has one of that name.
  if (run !== undefined && spec.commands !== undefined) command.enablePositionalOptions();
  if (run !== undefined)
    command.action(async () => {
      const args = command.processedArgs as (string | undefined)[];
      done(await run(open(command), { args, flags: flagsOf(command, parent) }));
    });
}

/**
 * The flags of a command. Where its parent runs too and has flags of the same names, commander gives those to the parent
 * wherever they stand, so what the parent took is read again the command's own way. Throws USAGE for a flag that only
 * the parent has.
 */
function flagsOf(command: Command, parent: Command): Record<string, unknown> {
  const flags: Record<string, unknown> = { ...command.opts() };
  if (parent.parent === null) return flags;
  for (const [name, taken] of Object.entries(parent.opts())) {
    const own = command.options.find((option) => option.attributeName() === name);
    if (own === undefined) {
      const flag = parent.options.find((option) => option.attributeName() === name)?.long ?? name;
      const path = `millrace ${parent.name()} ${command.name()}`;
      throw new MillraceError(
        "USAGE",
        `${flag} is a flag of millrace ${parent.name()}, not of ${path}`,
        {
          hint: `${path} --help lists the flags`,
        },
      );
    }
    if (name in flags) continue;
    const again = own.parseArg !== undefined && !Array.isArray(taken);
    flags[name] = again ? own.parseArg?.(String(taken), undefined) : taken;
  }
  return flags;
}

function optionOf(flag: FlagSpec): Option {
  const option = new Option(flag.flags, flag.text);
  if (flag.choices !== undefined) option.choices(flag.choices);
  if (flag.suggestions !== undefined) suggestionsOf.set(option, flag.suggestions);
  const { parse } = flag;
  if (flag.repeat === true)
    option.argParser((value: string, before: unknown) => [
      ...(Array.isArray(before) ? before : []),
      value,
    ]);
  else if (parse !== undefined) option.argParser(parse);
  return option;
}

/** Examples as they stand under the help of a command. */
export function examplesText(examples: CommandSpec["examples"] = []): string {
  const lines = examples.flatMap(([line, what]) => [
    ...(what === "" ? [] : [`  # ${what}`]),
    `  $ ${line}`,
  ]);
  return `\nExamples:\n${lines.join("\n")}\n`;
}
