/** What every report is told beside the result: where it came from. */
import type { Block, Fact } from "./document.ts";

/** Provenance; all optional, printed as given. */
export interface ReportContext {
  /** The command that made the result, as typed. */
  readonly command?: string;
  /** Version of Millrace. */
  readonly version?: string;
  /** The configuration file, as text. */
  readonly configText?: string;
  /** More lines of "made with": date, machine, git commit. */
  readonly facts?: readonly Fact[];
}

/** Seed, version and what else was given, in the order a reader looks for them. */
export function madeWith(context: ReportContext, facts: readonly Fact[]): Fact[] {
  const version =
    context.version === undefined ? [] : [{ label: "version", value: context.version }];
  return [...facts, ...version, ...(context.facts ?? [])];
}

/** The configuration, folded; nothing when it was not given. */
export function configBlocks(context: ReportContext): Block[] {
  if (context.configText === undefined) return [];
  return [
    {
      kind: "details",
      summary: "Configuration",
      blocks: [{ kind: "code", text: context.configText.trimEnd() }],
    },
  ];
}

/** "Llama-2-70b-hf" of "meta-llama/Llama-2-70b-hf"; a title has no room for the organisation. */
export function shortModel(name: string): string {
  return name.split("/").findLast((part) => part !== "") ?? name;
}

/** `command` for a document, absent when it was not given. */
export function commandOf(context: ReportContext): { command?: string } {
  return context.command === undefined ? {} : { command: context.command };
}
