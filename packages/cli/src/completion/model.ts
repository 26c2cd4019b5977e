/**
 * Shell completion, generated from the command tree: what may follow each command, as data, and one file per shell that
 * writes it down as a script. The scripts are static, so that completing starts no process.
 */
import type { Command, Option } from "commander";
import { type FlagSpec, suggestionsOf } from "../program/tree.ts";

/** A flag and what may follow it. */
export interface FlagModel {
  readonly names: readonly string[];
  readonly text: string;
  /** null: takes no value; []: takes one that is not known, such as a file. */
  readonly values: readonly string[] | null;
}

/** What may follow a command. */
export interface CommandModel {
  /** Names from the root, without the program's; [] for the root. */
  readonly path: readonly string[];
  readonly commands: readonly { readonly name: string; readonly text: string }[];
  readonly flags: readonly FlagModel[];
  /** Known values of the first positional argument. */
  readonly values: readonly string[];
}

type Suggestions = Readonly<Record<NonNullable<FlagSpec["suggestions"]>, readonly string[]>>;

/** The models of all commands, the root first. */
export async function completionModel(program: Command): Promise<readonly CommandModel[]> {
  const suggestions = await loadSuggestions();
  const shared = program.options.map((option) => flagModel(option, suggestions));
  const models: CommandModel[] = [];
  const visit = (command: Command, path: readonly string[]): void => {
    const own = command === program ? [] : command.options.map((o) => flagModel(o, suggestions));
    models.push({
      path,
      commands: command.commands.map((child) => ({ name: child.name(), text: child.summary() })),
      flags: [...own, ...shared, { names: ["-h", "--help"], text: "print help", values: null }],
      values: argumentValues(command, program, suggestions),
    });
    for (const child of command.commands) visit(child, [...path, child.name()]);
  };
  visit(program, []);
  return models;
}

function flagModel(option: Option, suggestions: Suggestions): FlagModel {
  const suggested = suggestionsOf.get(option);
  const takesValue = option.required || option.optional;
  return {
    names: [option.short, option.long].filter((name) => name !== undefined && name !== null),
    text: option.description,
    values: takesValue
      ? (option.argChoices ?? (suggested === undefined ? [] : suggestions[suggested]))
      : null,
  };
}

/** Values that are not in the tree: names of the catalogue, error codes, other commands. */
function argumentValues(
  command: Command,
  program: Command,
  suggestions: Suggestions,
): readonly string[] {
  const choices = command.registeredArguments[0]?.argChoices;
  if (choices !== undefined) return choices;
  switch (command.name()) {
    case "models":
      return suggestions.models;
    case "devices":
      return suggestions.devices;
    case "show":
      return suggestions.shapes;
    case "explain":
      return suggestions.codes;
    case "help":
      return program.commands.map((child) => child.name());
    default:
      return [];
  }
}

async function loadSuggestions(): Promise<Suggestions> {
  const [{ errorCodes }, { builtInShapes }, { devices, models }, { kvTypes, schedulerTypes }] =
    await Promise.all([
      import("@millrace/core"),
      import("@millrace/serving"),
      import("@millrace/sim"),
      import("@millrace/sim/config"),
    ]);
  const short = (name: string) => name.slice(name.lastIndexOf("/") + 1).toLowerCase();
  return {
    models: models.map((model) => short(model.name)),
    devices: devices.map((device) => device.name),
    schedulers: [...schedulerTypes, "vllm"],
    kv: kvTypes,
    shapes: Object.keys(builtInShapes),
    codes: Object.keys(errorCodes),
  };
}
