/** The values of Slurm's accounting: durations, sizes, trackable resources. NaN or null where a text is none. */

const clock = /^(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+(?:\.\d+)?)$/;

/** Seconds of `[D-]HH:MM:SS[.mmm]` or `MM:SS.mmm`; NaN for anything else. */
export function slurmSeconds(text: string): number {
  const match = clock.exec(text.trim());
  if (match === null) return Number.NaN;
  const [, days = "0", hours = "0", minutes = "0", seconds = "0"] = match;
  return (Number(days) * 24 + Number(hours)) * 3600 + Number(minutes) * 60 + Number(seconds);
}

const size = /^(\d+(?:\.\d+)?)([KMGTP]?)([nc]?)$/i;
const powers = ["", "K", "M", "G", "T", "P"];

/** A size with Slurm's binary units; `per` says whether older versions mean it by node or by CPU. */
export function slurmBytes(
  text: string,
  bare: "bytes" | "MB",
): { readonly bytes: number; readonly per: "node" | "cpu" | null } {
  const match = size.exec(text.trim());
  if (match === null) return { bytes: Number.NaN, per: null };
  const [, number = "", unit = "", per = ""] = match;
  const power = unit === "" && bare === "MB" ? 2 : powers.indexOf(unit.toUpperCase());
  const by = per.toLowerCase();
  return {
    bytes: Number(number) * 1024 ** power,
    per: by === "n" ? "node" : by === "c" ? "cpu" : null,
  };
}

/** `billing=8,cpu=8,gres/gpu:a100=2,mem=64G` by name. Parts that are no `name=value` are left out. */
export function slurmTres(text: string): ReadonlyMap<string, string> {
  const parts = new Map<string, string>();
  for (const part of text.split(",")) {
    const at = part.indexOf("=");
    if (at > 0) parts.set(part.slice(0, at).trim(), part.slice(at + 1).trim());
  }
  return parts;
}

/** GPUs of trackable resources: the total where it is there, else the sum over the types. */
export function tresGpus(tres: ReadonlyMap<string, string>): number {
  const total = Number(tres.get("gres/gpu"));
  if (Number.isFinite(total)) return total;
  let sum = 0;
  for (const [name, value] of tres)
    if (name.startsWith("gres/gpu:") && Number.isFinite(Number(value))) sum += Number(value);
  return sum;
}

/** GPUs of one node in the older `gpu:a100:2` or `gpu:2`. */
export function gresGpus(text: string): number {
  let sum = 0;
  for (const part of text.split(",")) {
    const match = /(?:^|:)gpu(?::[^:(]+)?:(\d+)/.exec(part.trim());
    if (match !== null) sum += Number(match[1]);
  }
  return sum;
}

/** Seconds since the epoch of a time stamp as sacct prints it, read as UTC (differences are what counts); null for Unknown. */
export function slurmTime(text: string): number | null {
  if (!/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d$/.test(text.trim())) return null;
  const at = Date.parse(`${text.trim()}Z`) / 1000;
  return Number.isFinite(at) ? at : null;
}
