/**
 * `npm start` on any checkout, fresh or not: set-up, then the main job. That is the serving loop closed on this machine: a
 * small model of random weights is made, profiled, planned for, served and measured, and what was predicted is laid beside
 * what was measured. `npm start -- --fleet` plans a fleet for Llama-3-70B instead; other words go to the program as they are.
 */
import { spawn } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { root, setup } from "./setup.mjs";

const OUT = "millrace-out";
const MODEL = join(OUT, "small.gguf");
/** Exit code for a machine that lacks something. */
const MISSING = 4;

/** Runs the program to its end, which comes soon after a signal: it stops what it started and says what is kept. */
function millrace(...words) {
  const cli = join(root, "packages", "cli", "bin", "millrace.js");
  const child = spawn(process.execPath, [cli, ...words], { cwd: root, stdio: "inherit" });
  const stops = {
    // A terminal sends Ctrl-C to both of us.
    SIGINT: () => {},
    SIGTERM: () => child.kill("SIGTERM"),
  };
  for (const [signal, stop] of Object.entries(stops)) process.on(signal, stop);
  return new Promise((resolve) => {
    child.once("exit", (status) => {
      for (const [signal, stop] of Object.entries(stops)) process.off(signal, stop);
      resolve(status ?? 1);
    });
  });
}

function fleet() {
  return millrace("plan", "--config", join("examples", "llama3-70b.yaml"), "--out", OUT);
}

async function loop() {
  mkdirSync(join(root, OUT), { recursive: true });
  if (!existsSync(join(root, MODEL))) {
    const made = await millrace("model", "make", "--preset", "small", "--out", MODEL);
    if (made !== 0) return made;
  }
  // One engine thread: client, server and engine share as few as two cores.
  const small = ["--threads", "1", "--context", "1024", "--kv-memory", "256MiB"];
  const load = ["--prompt-tokens", "8..96", "--output-tokens", "4..24", "--requests", "400"];
  const words = ["--quick", "--model", MODEL, ...small, ...load];
  const status = await millrace("calibrate", ...words, "--out", OUT);
  if (status === MISSING)
    console.error(
      "\nThe engine cannot run here; planning and simulating need no native library:\n  npm start -- --fleet      the cheapest fleet for Llama-3-70B\n  npx millrace doctor       what is missing, and what it disables",
    );
  else if (status === 0)
    console.error(
      [
        "",
        `Open ${join(OUT, "report.html")}, then try:`,
        `  npx millrace serve --model ${MODEL}          an OpenAI-compatible server on port 8080`,
        "  npx millrace bench --url http://127.0.0.1:8080 --rate 10   a load against it, token by token",
        "  npm start -- --fleet                           the cheapest fleet for Llama-3-70B",
      ].join("\n"),
    );
  return status;
}

setup();
const words = process.argv.slice(2);
process.exitCode = await (words.length === 0
  ? loop()
  : words[0] === "--fleet"
    ? fleet()
    : millrace(...words));
