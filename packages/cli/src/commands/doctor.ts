/** `millrace doctor`: machine, versions, optional parts, and what each missing part disables. */
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { connect } from "node:net";
import os from "node:os";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { formatBytes } from "@millrace/core";
import { version } from "../program/version.ts";
import type { Session } from "../session.ts";
import { facts } from "../ui/table.ts";
import { wrap } from "../ui/width.ts";
import { type Finding, onPath } from "./doctor/finding.ts";
import { ggmlLibraries } from "./doctor/ggml.ts";
import { cuda, hugePages, kvMemory, kvPages } from "./doctor/kv-memory.ts";

export async function doctorCommand(session: Session): Promise<number> {
  const machine = machineFacts();
  const libraries = libraryVersions();
  const findings = await Promise.all([
    nodeVersion(),
    ggmlLibraries(),
    kvPages(),
    kvMemory(),
    hugePages(),
    gpu(),
    cuda(),
    redisServer(),
    redisPackages(),
    chromium(),
  ]);
  const broken = findings.some((finding) => finding.state === "broken");
  if (session.json) {
    session.printJson({
      schema: "millrace.doctor/1",
      version,
      machine: Object.fromEntries(machine),
      libraries: Object.fromEntries(libraries),
      findings,
    });
    return broken ? 4 : 0;
  }
  const { paint } = session;
  const marks = {
    present: paint("good", "✓"),
    absent: paint("faint", "–"),
    broken: paint("bad", "✗"),
  };
  const width = Math.min(session.width, 100);
  session.print([
    paint("strong", `millrace ${version}`),
    ...facts(machine, { paint, indent: 2 }),
    "",
    paint("strong", "Optional parts"),
    ...findings.flatMap((finding) => [
      ...wrap(finding.detail, width - 20).map((line, i) =>
        i === 0
          ? `  ${marks[finding.state]} ${finding.name.padEnd(16)}${line}`
          : `${" ".repeat(20)}${line}`,
      ),
      ...(finding.state === "present"
        ? []
        : wrap(finding.disables, width - 20).map((line) =>
            paint("faint", `${" ".repeat(20)}${line}`),
          )),
    ]),
    "",
    paint("strong", "Libraries"),
    ...wrap(libraries.map(([name, at]) => `${name}\u00a0${at}`).join(", "), width - 2).map(
      (line) => `  ${line.replaceAll("\u00a0", " ")}`,
    ),
  ]);
  session.note(
    broken
      ? "\nwhat is marked ✗ is there and cannot be used"
      : "\nsimulate and plan need nothing more",
  );
  return broken ? 4 : 0;
}

function machineFacts(): readonly (readonly [string, string])[] {
  const cpus = os.cpus();
  const model = (cpus[0]?.model ?? "unknown").trim().replace(/\s+/g, " ");
  return [
    ["system", `${os.type()} ${os.release()} ${os.arch()}`],
    ["CPU", `${model}, ${os.availableParallelism()} usable of ${cpus.length}`],
    ["host memory", `${formatBytes(os.totalmem())}, ${formatBytes(os.freemem())} free`],
    ["Node", process.version],
    ["temporary folder", os.tmpdir()],
  ];
}

async function nodeVersion(): Promise<Finding> {
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  const fits = major > 20 || (major === 20 && minor >= 19);
  return {
    name: "Node 20.19",
    state: fits ? "present" : "broken",
    detail: process.version,
    disables: "every command; install a newer Node",
  };
}

async function redisServer(): Promise<Finding> {
  const url = new URL(process.env.REDIS_URL ?? "redis://127.0.0.1:6379");
  const port = Number(url.port || 6379);
  const reachable = await new Promise<boolean>((resolve) => {
    const socket = connect({ host: url.hostname, port, timeout: 300 });
    const end = (answer: boolean) => () => {
      socket.destroy();
      resolve(answer);
    };
    socket.once("connect", end(true)).once("error", end(false)).once("timeout", end(false));
  });
  const binary = onPath(["redis-server", "valkey-server"]);
  const installed = binary === null ? "not installed" : `${binary} is installed, not running`;
  return {
    name: "Redis",
    state: reachable ? "present" : "absent",
    detail: reachable ? `reachable at ${url.hostname}:${port}` : installed,
    disables:
      "plan --queue and worker (runs spread over machines); without it plan uses the CPUs of this machine. REDIS_URL names another server.",
  };
}

async function redisPackages(): Promise<Finding> {
  const versions = ["bullmq", "ioredis"].map((name) => packageVersion(name, "@millrace/sim/queue"));
  const present = versions.every((found) => found !== null);
  return {
    name: "Redis client",
    state: present ? "present" : "absent",
    detail: present ? `bullmq ${versions[0]}, ioredis ${versions[1]}` : "bullmq or ioredis missing",
    disables: "plan --queue and worker; npm install bullmq@6.7.0 ioredis@6.0.0",
  };
}

async function chromium(): Promise<Finding> {
  const binary = onPath(["chromium", "chromium-browser", "google-chrome", "chrome"]);
  return {
    name: "Chromium",
    state: binary === null ? "absent" : "present",
    detail: binary ?? "not found",
    disables: "the browser tests of reports; reports themselves open in any browser",
  };
}

async function gpu(): Promise<Finding> {
  const tool = onPath(["nvidia-smi", "rocm-smi"]);
  const found = tool !== null || existsSync("/dev/nvidia0") || existsSync("/dev/kfd");
  return {
    name: "GPU",
    state: found ? "present" : "absent",
    detail: found ? (tool ?? "device file present") : "none",
    disables: "serving on a GPU; simulate and plan predict devices, and use none",
  };
}

/** Packages with the workspace package that depends on them. */
const packages = [
  ["commander", ""],
  ["zod", "@millrace/core"],
  ["yaml", "@millrace/core"],
  ["@observablehq/plot", "@millrace/report"],
  ["linkedom", "@millrace/report"],
] as const;

function libraryVersions(): readonly (readonly [string, string])[] {
  return packages.map(([name, owner]) => [name, packageVersion(name, owner) ?? "missing"]);
}

/** The version of a package as `owner` sees it, or null when it is not installed. */
function packageVersion(name: string, owner: string): string | null {
  try {
    const from = owner === "" ? import.meta.url : import.meta.resolve(owner);
    const require = createRequire(from.startsWith("file:") ? from : pathToFileURL(from));
    let folder = dirname(require.resolve(name));
    for (;;) {
      const manifest = join(folder, "package.json");
      if (existsSync(manifest)) {
        const read = JSON.parse(readFileSync(manifest, "utf8")) as Record<string, unknown>;
        if (read.name === name) return String(read.version);
      }
      if (folder === dirname(folder)) return null;
      folder = dirname(folder);
    }
  } catch {
    return null;
  }
}
