/**
 * Runs the benches: every file under bench/ in five fresh processes, one after the other, and prints medians with
 * their spread beside the bar of each figure. Run it on an idle machine: nothing here is asserted anywhere.
 */
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { cpus, totalmem } from "node:os";
import { join } from "node:path";
import { root, setup } from "./setup.mjs";

setup();
const wanted = process.argv.slice(2).filter((a) => !a.startsWith("--"));
const processes = Number(process.argv.find((a) => a.startsWith("--processes="))?.slice(12) ?? 5);
const files = readdirSync(join(root, "bench"))
  .filter(
    (f) => f.endsWith(".bench.ts") && (wanted.length === 0 || wanted.some((w) => f.includes(w))),
  )
  .sort();
console.log(
  `${cpus()[0]?.model ?? "unknown CPU"} x ${cpus().length}, ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.version}; medians of ${processes} processes [min … max]`,
);
let failed = false;
for (const file of files) {
  const rows = new Map();
  for (let i = 0; i < processes; i++) {
    const r = spawnSync(
      process.execPath,
      ["--expose-gc", "--max-semi-space-size=256", "--import", "tsx", join("bench", file)],
      { cwd: root, encoding: "utf8", maxBuffer: 1 << 26 },
    );
    if (r.status !== 0) {
      console.error(`${file} failed:\n${r.stderr}`);
      failed = true;
      break;
    }
    for (const line of r.stdout.split("\n")) {
      if (!line.startsWith("{")) continue;
      const m = JSON.parse(line);
      const row = rows.get(m.name) ?? { ...m, values: [] };
      row.values.push(m.value);
      rows.set(m.name, row);
    }
  }
  console.log(`\n${file}`);
  for (const row of rows.values()) {
    row.values.sort((a, b) => a - b);
    const median = row.values[row.values.length >> 1];
    const digits = (x) => (Math.abs(x) >= 100 ? x.toFixed(0) : x.toPrecision(3));
    const bar =
      row.bar === undefined
        ? ""
        : `  bar ${row.bar} ${row.unit}  ${median <= row.bar ? "met" : "MISSED"}`;
    console.log(
      `  ${row.name.padEnd(64)} ${digits(median).padStart(8)} ${row.unit}  [${digits(row.values[0])} … ${digits(row.values.at(-1))}]${bar}`,
    );
  }
}
process.exit(failed ? 1 : 0);
