/**
 * Several servers on one machine: network namespaces joined by a bridge, each with an address of its own and, if wanted,
 * a link of bounded speed. For experiments and tests of what talks over a network; needs root and the `ip` command.
 */
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { MillraceError } from "@millrace/core";

/** One server: its namespace, and how others reach it. */
export interface ServerNamespace {
  readonly name: string;
  readonly address: string;
}

/** Interface names have 15 characters at most, so prefixes have few. */
const prefixPattern = /^[a-z][a-z0-9]{0,7}$/;

function ip(...args: string[]): void {
  run("ip", args);
}

function run(command: string, args: readonly string[]): void {
  try {
    execFileSync(command, args, { stdio: ["ignore", "ignore", "pipe"] });
  } catch (cause) {
    const said = String((cause as { stderr?: unknown }).stderr ?? "").trim();
    throw new MillraceError(
      "ENVIRONMENT_MISSING",
      `${command} ${args.join(" ")} failed${said === "" ? "" : `: ${said}`}`,
      { cause, hint: "network namespaces need root, iproute2 and a kernel with veth and bridges" },
    );
  }
}

/** Namespaces prefix0 … prefix(n-1) on a bridge in a namespace of its own; the machine's own network is not touched. */
export class ServerNamespaces implements Disposable {
  readonly servers: readonly ServerNamespace[];
  private readonly names: string[] = [];

  /**
   * `bitsPerSecond` bounds what each server sends (token bucket). Throws MillraceError ENVIRONMENT_MISSING, with
   * nothing left behind.
   */
  constructor(prefix: string, count: number, bitsPerSecond?: number) {
    if (!prefixPattern.test(prefix) || !(count >= 1 && count <= 200))
      throw new MillraceError("USAGE", `no ${count} namespaces called ${prefix}…`);
    const servers: ServerNamespace[] = [];
    try {
      const hub = this.add(`${prefix}hub`);
      ip("-n", hub, "link", "add", "name", "bridge", "type", "bridge");
      ip("-n", hub, "link", "set", "dev", "bridge", "up");
      for (let i = 0; i < count; i++) {
        const name = this.add(`${prefix}${i}`);
        const address = `10.213.0.${i + 1}`;
        ip("-n", hub, "link", "add", `p${i}`, "type", "veth", "peer", "name", "net", "netns", name);
        ip("-n", hub, "link", "set", `p${i}`, "master", "bridge", "up");
        ip("-n", name, "addr", "add", `${address}/24`, "dev", "net");
        ip("-n", name, "link", "set", "net", "up");
        ip("-n", name, "link", "set", "lo", "up");
        if (bitsPerSecond !== undefined)
          run(
            "tc",
            `-n ${name} qdisc add dev net root tbf rate ${Math.round(bitsPerSecond)} burst ${Math.max(65536, Math.round(bitsPerSecond / 800))} latency 50ms`.split(
              " ",
            ),
          );
        servers.push({ name, address });
      }
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
    this.servers = servers;
  }

  /** The command line that runs something in a server. */
  command(server: number, command: readonly string[]): readonly string[] {
    const { name } = this.servers[server] as ServerNamespace;
    return ["ip", "netns", "exec", name, ...command];
  }

  [Symbol.dispose](): void {
    for (const name of this.names.splice(0).reverse())
      try {
        ip("netns", "del", name);
      } catch {
        // Gone already.
      }
  }

  private add(name: string): string {
    // What a crashed run of this name left is in the way and nobody's.
    if (existsSync(`/run/netns/${name}`)) ip("netns", "del", name);
    ip("netns", "add", name);
    this.names.push(name);
    return name;
  }
}

/** Whether namespaces can be made here: tries once. */
export function namespacesSupported(): boolean {
  try {
    new ServerNamespaces(`t${process.pid % 100_000}`, 1)[Symbol.dispose]();
    return true;
  } catch {
    return false;
  }
}
