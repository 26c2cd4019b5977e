/** `npm start` on any checkout, fresh or not: set-up, then the main job (a plan for Llama-3-70B). */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { root, setup } from "./setup.mjs";

setup();
const cli = join(root, "packages", "cli", "bin", "millrace.js");
const args =
  process.argv.length > 2
    ? process.argv.slice(2)
    : ["plan", "--config", join("examples", "llama3-70b.yaml"), "--out", "millrace-out"];
const r = spawnSync(process.execPath, [cli, ...args], { cwd: root, stdio: "inherit" });
process.exit(r.status ?? 1);
