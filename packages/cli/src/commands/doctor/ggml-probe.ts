/** A program of its own: loads ggml, tests it, and prints what it is. Apart, because other libraries may end a process. */
import { MillraceError } from "@millrace/core";
import { cpuVariant, loadGgml } from "@millrace/ggml";
import type { GgmlReport } from "./ggml.ts";

function report(): GgmlReport {
  try {
    const { version, commit, directory, devices, library } = loadGgml();
    const names = devices.map((device) => device.name);
    return { ok: true, version, commit, directory, devices: names, ...cpuVariant(library) };
  } catch (error) {
    if (!(error instanceof MillraceError)) throw error;
    return { ok: false, code: error.code, message: error.message, hint: error.hint ?? "" };
  }
}

process.stdout.write(JSON.stringify(report()));
