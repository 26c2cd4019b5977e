/** The ggml libraries: found, of the right version, and what they were built for. */
import { execFile } from "node:child_process";
import { createRequire } from "node:module";
import { fileURLToPath, pathToFileURL } from "node:url";
import type { Finding } from "./finding.ts";

/** What the probe prints. */
export type GgmlReport =
  | {
      readonly ok: true;
      readonly version: string;
      readonly commit: string;
      readonly directory: string;
      readonly devices: readonly string[];
      readonly file: string | null;
      readonly features: readonly string[];
    }
  | {
      readonly ok: false;
      readonly code: string;
      readonly message: string;
      readonly hint: string;
    };

const disables =
  "serve, generate and profile (real inference); simulate, plan and bench do without";
/** Loading and testing takes a tenth of a second; a hung driver of a GPU may take for ever. */
const PATIENCE_MS = 30_000;

export async function ggmlLibraries(): Promise<Finding> {
  const found = await probe();
  if (typeof found === "string") return { name: "ggml", state: "broken", detail: found, disables };
  if (!found.ok)
    return {
      name: "ggml",
      state: found.code === "GGML_UNAVAILABLE" ? "absent" : "broken",
      detail: found.message,
      disables: `${disables}. ${found.hint}`,
    };
  const variant = found.file === null ? "" : `, ${found.file}`;
  return {
    name: "ggml",
    state: "present",
    detail: `${found.version} (${found.commit}) passed its self-test${variant} with ${found.features.join(" ")}; devices: ${found.devices.join(", ")}; from ${found.directory}`,
    disables,
  };
}

/** The probe's report, or how it ended. */
function probe(): Promise<GgmlReport | string> {
  const source = import.meta.url.endsWith(".ts");
  const program = new URL(source ? "./ggml-probe.ts" : "./ggml-probe.js", import.meta.url);
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [...(source ? sourceFlags() : []), fileURLToPath(program)],
      { timeout: PATIENCE_MS, killSignal: "SIGKILL" },
      (error, stdout, stderr) => {
        if (error === null) return resolve(JSON.parse(stdout) as GgmlReport);
        const said = stderr.trim().split("\n").at(-1) ?? "";
        const how = error.killed
          ? `gave no answer for ${PATIENCE_MS / 1000} s`
          : `ended the process (${error.signal ?? `exit code ${error.code}`})`;
        resolve(`loading it ${how}${said === "" ? "" : `: ${said}`}`);
      },
    );
  });
}

/** Sources need the TypeScript loader and the packages' source entries. */
function sourceFlags(): readonly string[] {
  const tsx = pathToFileURL(createRequire(import.meta.url).resolve("tsx")).href;
  return ["--conditions=millrace:source", "--import", tsx];
}
