/** A systemd unit that runs a serve command line: restarts it, lets it drain, and takes away what it does not need. */

export interface UnitOptions {
  readonly description: string;
  /** Program and arguments, absolute paths. */
  readonly command: readonly string[];
  readonly workingDirectory: string;
  /** Seconds that running requests may go on after SIGTERM. */
  readonly drainSeconds: number;
}

/** Seconds between the end of the drain and SIGKILL. */
const CLOSING_SECONDS = 10;

/** Text of the unit file. */
export function systemdUnit(options: UnitOptions): string {
  return `[Unit]
Description=${escaped(options.description)}
After=network-online.target
Wants=network-online.target

[Service]
Type=exec
ExecStart=${options.command.map(quoted).join(" ")}
WorkingDirectory=${escaped(options.workingDirectory)}
Restart=on-failure
RestartSec=2
KillSignal=SIGTERM
# Only the server is told to stop; it drains, and ends the engine itself.
KillMode=mixed
TimeoutStopSec=${Math.ceil(options.drainSeconds) + CLOSING_SECONDS}
LimitNOFILE=65536
# Take an account of its own: systemd makes it for as long as the unit runs.
DynamicUser=yes
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp=yes
ProtectControlGroups=yes
ProtectKernelModules=yes
RestrictSUIDSGID=yes
# The KV cache is sized from the limit that stands here when kv.memory is not given.
#MemoryMax=16G

[Install]
WantedBy=multi-user.target
`;
}

/** systemd expands % and, in command lines, $. */
function escaped(text: string): string {
  return text.replaceAll("%", "%%").replaceAll("\n", " ");
}

function quoted(argument: string): string {
  const text = escaped(argument).replaceAll("$", "$$$$");
  return /^[\w@%+=:,./-]+$/.test(text)
    ? text
    : `"${text.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`;
}
