/**
 * A real Slurm on this machine for tests: Debian's slurmctld and one slurmd per node of 8 GPUs, 24 CPUs and 500 GB that do
 * not exist, with a munge of its own. Everything is in one folder and on loopback, and ends with it. Needs root, as
 * slurmd does to start jobs for their users.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

/** Whether Slurm is installed; where CI runs it must be. */
export function slurmInstalled(): boolean {
  return areInstalled(["slurmctld", "slurmd", "munged"]);
}

/** Whether Slurm's accounting and its database are installed too. */
export function accountingInstalled(): boolean {
  return slurmInstalled() && areInstalled(["slurmdbd", "mariadbd"]);
}

function areInstalled(programs: readonly string[]): boolean {
  const missing = programs.filter((program) => !existsSync(`/usr/sbin/${program}`));
  if (missing.length > 0 && process.env["CI"] !== undefined)
    throw new Error(`not installed: ${missing.join(", ")}; .ci/run does that`);
  return missing.length === 0 && process.getuid?.() === 0;
}

export class VirtualSlurm implements AsyncDisposable {
  readonly dir: string;
  readonly nodes: readonly string[];
  private readonly accounting: boolean;
  private readonly daemons = new Map<string, ChildProcess>();

  private constructor(dir: string, nodes: number, accounting: boolean) {
    this.dir = dir;
    this.accounting = accounting;
    this.nodes = Array.from({ length: nodes }, (_, i) => `n${i}`);
  }

  /** For SLURM_CONF. */
  get conf(): string {
    return join(this.dir, "slurm.conf");
  }

  /** With `accounting` what jobs used is gathered and kept, as sacct shows it: a slurmdbd and a database of its own. */
  static async start(nodes = 4, accounting = false): Promise<VirtualSlurm> {
    const dir = mkdtempSync(join(tmpdir(), "millrace-slurm-"));
    const slurm = new VirtualSlurm(dir, nodes, accounting);
    try {
      await slurm.begin();
      return slurm;
    } catch (error) {
      await slurm[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** What a Slurm command prints. */
  call(program: string, ...args: readonly string[]): string {
    return execFileSync(program, args, {
      env: { ...process.env, SLURM_CONF: this.conf },
      encoding: "utf8",
      stdio: ["ignore", "pipe", "pipe"],
    });
  }

  /** Ends a node's daemon and tells the controller, which would notice by itself after its timeout. */
  async loseNode(name: string): Promise<void> {
    await this.end(name);
    this.call("scontrol", "update", `NodeName=${name}`, "State=DOWN", "Reason=lost");
  }

  /** Brings a lost node back. */
  async restoreNode(name: string): Promise<void> {
    this.run(name, "slurmd", ["-D", "-N", name, "-f", this.conf]);
    await until(name, () => {
      try {
        if (/idle/.test(this.call("sinfo", "-h", "-N", "-n", name, "-o", "%T"))) return true;
        this.call("scontrol", "update", `NodeName=${name}`, "State=RESUME");
      } catch {
        // It is on its way up and takes no orders yet.
      }
      return false;
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const name of [...this.daemons.keys()].reverse()) await this.end(name);
    rmSync(this.dir, { recursive: true, force: true, maxRetries: 5 });
  }

  private async begin(): Promise<void> {
    const { dir, nodes } = this;
    for (const folder of ["state", "gpus", "munge", ...nodes]) mkdirSync(join(dir, folder));
    chmodSync(dir, 0o755);
    for (let gpu = 0; gpu < 8; gpu++) writeFileSync(join(dir, `gpus/gpu${gpu}`), "");
    const key = join(dir, "munge/key");
    writeFileSync(key, randomBytes(64), { mode: 0o400 });
    const munge = join(dir, "munge/socket");
    const ports = await freePorts(nodes.length + 3);
    writeFileSync(this.conf, this.configuration(munge, ports));
    writeFileSync(join(dir, "gres.conf"), `Name=gpu File=${dir}/gpus/gpu[0-7]\n`);
    this.run("munged", "munged", [
      "--foreground",
      "--force",
      `--key-file=${key}`,
      `--socket=${munge}`,
      `--pid-file=${dir}/munge/pid`,
      `--log-file=${dir}/munge/log`,
      `--seed-file=${dir}/munge/seed`,
      "--num-threads=2",
    ]);
    await until("munged", () => existsSync(munge));
    if (this.accounting) await this.beginAccounting(munge, ports.slice(-2));
    this.run("slurmctld", "slurmctld", ["-D", "-f", this.conf]);
    for (const node of nodes) this.run(node, "slurmd", ["-D", "-N", node, "-f", this.conf]);
    await until("slurmctld and its nodes", () => {
      try {
        const states = this.call("sinfo", "-h", "-N", "-o", "%T").trim().split("\n");
        return states.length === nodes.length && states.every((state) => state === "idle");
      } catch {
        return false;
      }
    });
  }

  private async beginAccounting(munge: string, ports: readonly number[]): Promise<void> {
    const { dir } = this;
    const [database, accounting] = ports;
    mkdirSync(join(dir, "database"));
    this.run("mariadbd", "mariadbd", [
      "--no-defaults",
      "--user=root",
      `--datadir=${dir}/database`,
      `--socket=${dir}/database/socket`,
      `--pid-file=${dir}/database/pid`,
      "--bind-address=127.0.0.1",
      `--port=${database}`,
      // Without the tables of users and their rights: it is on loopback and holds nothing.
      "--skip-grant-tables",
      "--innodb-log-file-size=4M",
      "--innodb-flush-log-at-trx-commit=0",
    ]);
    await until("mariadbd", () => existsSync(join(dir, "database/socket")));
    const lines = [
      "AuthType=auth/munge",
      `AuthInfo=socket=${munge}`,
      "DbdHost=localhost",
      "DbdAddr=127.0.0.1",
      `DbdPort=${accounting}`,
      "SlurmUser=root",
      "StorageType=accounting_storage/mysql",
      "StorageHost=127.0.0.1",
      `StoragePort=${database}`,
      "StorageUser=root",
      "StorageLoc=slurm",
      `LogFile=${dir}/slurmdbd.log`,
      `PidFile=${dir}/slurmdbd.pid`,
      "",
    ];
    writeFileSync(join(dir, "slurmdbd.conf"), lines.join("\n"), { mode: 0o600 });
    this.run("slurmdbd", "slurmdbd", ["-D"]);
    await until("slurmdbd", () => {
      try {
        this.call("sacctmgr", "-i", "add", "cluster", "virtual");
        return true;
      } catch {
        return false;
      }
    });
  }

  private configuration(munge: string, ports: readonly number[]): string {
    const { dir, nodes } = this;
    return [
      "ClusterName=virtual",
      `SlurmctldHost=${hostname()}(127.0.0.1)`,
      "SlurmUser=root",
      `SlurmctldPort=${ports[0]}`,
      "AuthType=auth/munge",
      `AuthInfo=socket=${munge}`,
      "CredType=cred/munge",
      `StateSaveLocation=${dir}/state`,
      `SlurmdSpoolDir=${dir}/%n`,
      `SlurmctldPidFile=${dir}/slurmctld.pid`,
      `SlurmdPidFile=${dir}/%n/slurmd.pid`,
      `SlurmctldLogFile=${dir}/slurmctld.log`,
      `SlurmdLogFile=${dir}/%n/slurmd.log`,
      "ProctrackType=proctrack/linuxproc",
      "TaskPlugin=task/none",
      ...(this.accounting
        ? [
            "JobAcctGatherType=jobacct_gather/linux",
            "JobAcctGatherFrequency=task=1",
            "AccountingStorageType=accounting_storage/slurmdbd",
            "AccountingStorageHost=127.0.0.1",
            `AccountingStoragePort=${ports.at(-1)}`,
            // For munge: the socket, which the other setting is not read for.
            `AccountingStoragePass=${munge}`,
            "AccountingStorageTRES=gres/gpu",
          ]
        : ["JobAcctGatherType=jobacct_gather/none"]),
      "SelectType=select/cons_tres",
      "SelectTypeParameters=CR_CPU_Memory",
      // Scheduling at once instead of every few seconds.
      "SchedulerParameters=sched_min_interval=50000,batch_sched_delay=0,bf_interval=1",
      "KillWait=1",
      "ReturnToService=2",
      "MpiDefault=none",
      "GresTypes=gpu",
      "SlurmdParameters=config_overrides",
      ...nodes.map(
        (node, i) =>
          `NodeName=${node} NodeHostname=${hostname()} NodeAddr=127.0.0.1 Port=${ports[i + 1]} CPUs=24 RealMemory=500000 Gres=gpu:8`,
      ),
      "PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP",
      "",
    ].join("\n");
  }

  private run(name: string, program: string, args: readonly string[]): void {
    this.daemons.set(
      name,
      spawn(`/usr/sbin/${program}`, args, {
        env: { ...process.env, SLURM_CONF: this.conf },
        stdio: "ignore",
      }),
    );
  }

  private async end(name: string): Promise<void> {
    const daemon = this.daemons.get(name);
    this.daemons.delete(name);
    if (daemon === undefined || daemon.exitCode !== null || daemon.signalCode !== null) return;
    const ended = once(daemon, "exit");
    daemon.kill("SIGTERM");
    const hard = setTimeout(() => daemon.kill("SIGKILL"), 5000);
    await ended;
    clearTimeout(hard);
  }
}

async function freePorts(count: number): Promise<readonly number[]> {
  const servers = Array.from({ length: count }, () => createServer());
  const ports: number[] = [];
  for (const server of servers) {
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const address = server.address();
    if (typeof address === "object" && address !== null) ports.push(address.port);
  }
  for (const server of servers) await new Promise((resolve) => server.close(resolve));
  return ports;
}

async function until(what: string, holds: () => boolean): Promise<void> {
  for (let waited = 0; !holds(); waited += 50) {
    if (waited > 30_000) throw new Error(`${what} did not come up in 30 s`);
    await sleep(50);
  }
}
