/** The command as it was typed, for reports. */

/** Quoted so that it can be pasted into a shell. */
export function commandLine(): string {
  const quoted = (arg: string) =>
    /^[\w./:=,@%+-]+$/.test(arg) ? arg : `'${arg.replaceAll("'", "'\\''")}'`;
  return ["millrace", ...process.argv.slice(2).map(quoted)].join(" ");
}
