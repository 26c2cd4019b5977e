/** Brings a checkout to the point where it can run: installs from the lock file and compiles, only where needed. */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = join(dirname(fileURLToPath(import.meta.url)), "..");

const major = process.versions.node.split(".").map(Number);
if (major[0] < 20 || (major[0] === 20 && major[1] < 19)) {
  console.error(`Millrace needs Node 20.19 or newer; this is ${process.version}.`);
  process.exit(4);
}

function must(what, command, args) {
  const started = Date.now();
  process.stderr.write(`millrace: ${what} ...`);
  const r = spawnSync(command, args, {
    cwd: root,
    encoding: "utf8",
    shell: process.platform === "win32",
  });
  if (r.status !== 0) {
    process.stderr.write(
      ` failed\n${r.stdout ?? ""}${r.stderr ?? ""}${r.error ? `${r.error.message}\n` : ""}`,
    );
    process.exit(r.status || 4);
  }
  process.stderr.write(` ${((Date.now() - started) / 1000).toFixed(1)} s\n`);
}

/** Installs dependencies when the lock file changed since the last install, then compiles what changed. */
export function setup() {
  const lock = createHash("sha256")
    .update(readFileSync(join(root, "package-lock.json")))
    .digest("hex");
  const stamp = join(root, "node_modules", ".millrace-lock");
  const installed = existsSync(stamp) && readFileSync(stamp, "utf8") === lock;
  if (!installed) {
    must("installing dependencies (once)", "npm", [
      "ci",
      "--ignore-scripts",
      "--no-audit",
      "--no-fund",
    ]);
    writeFileSync(stamp, lock);
  }
  must("compiling", process.execPath, [
    join(root, "node_modules", "typescript", "bin", "tsc"),
    "-b",
  ]);
}
