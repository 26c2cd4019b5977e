/** Which of the readers a file is for. */
import { parsePrometheus } from "./prometheus.ts";
import { parseSacct } from "./sacct.ts";
import type { UseReport } from "./use.ts";

/** Reads sacct's table or an export of Prometheus, whichever it is. Throws JOBS_INVALID when it is neither. */
export function parseUse(text: string, file: string): UseReport {
  const body = text.replace(/^\uFEFF/, "");
  const metrics = /^\s*[[{]/.test(body) || /^(# (HELP|TYPE|EOF)|[a-zA-Z_:][\w:]*\{)/m.test(body);
  return metrics ? parsePrometheus(text, file) : parseSacct(text, file);
}
