import type { Command } from "commander";
import { completionModel } from "./model.ts";

/** Shells that a script can be written for. */
export const shells = ["bash", "zsh", "fish"] as const;

/** The completion script of the program for a shell of `shells`. */
export async function completionScript(shell: string, program: Command): Promise<string> {
  const models = await completionModel(program);
  switch (shell) {
    case "zsh":
      return (await import("./zsh.ts")).zshScript(models);
    case "fish":
      return (await import("./fish.ts")).fishScript(models);
    default:
      return (await import("./bash.ts")).bashScript(models);
  }
}
