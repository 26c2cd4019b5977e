import { spawnSync } from "node:child_process";
import { expect, test } from "vitest";
import { millrace } from "../testing.conformance.ts";

const has = (shell: string) => spawnSync(shell, ["-c", "true"]).status === 0;

/** What bash proposes after the words of a line, the last of which may be incomplete. */
function completions(script: string, words: readonly string[]): readonly string[] {
  const quoted = words.map((word) => `'${word}'`).join(" ");
  const program = `${script}
COMP_WORDS=(${quoted}); COMP_CWORD=${words.length - 1}; _millrace; printf '%s\\n' "\${COMPREPLY[@]}"`;
  const { stdout, stderr } = spawnSync("bash", ["-c", program], { encoding: "utf8" });
  expect(stderr).toBe("");
  return stdout.split("\n").filter((line) => line !== "");
}

test.skipIf(!has("bash"))("bash completes commands, flags and their values", async () => {
  const { out: script } = await millrace("completion", "bash");
  expect(completions(script, ["millrace", "si"])).toEqual(["simulate"]);
  expect(completions(script, ["millrace", "simulate", "--sched"])).toEqual(["--scheduler"]);
  expect(completions(script, ["millrace", "simulate", "--scheduler", "vllm-v"])).toEqual([
    "vllm-v1",
    "vllm-v0",
  ]);
  expect(completions(script, ["millrace", "workloads", "show", "azure-co"])).toEqual(
    expect.arrayContaining(["azure-conv-2023", "azure-code-2023"]),
  );
  expect(completions(script, ["millrace", "completion", ""])).toEqual(
    expect.arrayContaining(["bash", "zsh", "fish"]),
  );
  expect(completions(script, ["millrace", "explain", "SLO"])).toEqual(["SLO_BREACHED"]);
  expect(completions(script, ["millrace", "simulate", "--config", ""])).toEqual([]);
});

test.each(["zsh", "fish"])("%s: a line per flag, no quote left open", async (shell) => {
  const { exit, out } = await millrace("completion", shell);
  expect(exit).toBe(0);
  expect(out).toContain("scheduler");
  expect(out).toContain("sarathi-serve");
  if (has(shell)) {
    const { status, stderr } = spawnSync(shell, ["-n", "-c", out], { encoding: "utf8" });
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  }
});
