/**
 * Runs the benches: every file under bench/ in five fresh processes, one after the other, and prints medians with
 * their spread beside the bar of each figure. Run it on an idle machine: nothing here is asserted anywhere. With --write
 * the tables of docs/benchmarks.md are replaced by what was measured.
 */
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
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
const write = process.argv.includes("--write");
const page = join(root, "docs/benchmarks.md");
const machine = `${cpus()[0]?.model ?? "unknown CPU"} x ${cpus().length}, ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.version}; medians of ${processes} processes [min … max]`;
console.log(machine);
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
  const lines = [];
  for (const row of rows.values()) {
    row.values.sort((a, b) => a - b);
    const median = row.values[row.values.length >> 1];
    const digits = (x) => (Math.abs(x) >= 100 ? x.toFixed(0) : x.toPrecision(3));
    const bar =
      row.bar === undefined
        ? ""
        : `  bar ${row.bar} ${row.unit}  ${median <= row.bar ? "met" : "MISSED"}`;
    const range = `${digits(row.values[0])} … ${digits(row.values.at(-1))}`;
    console.log(
      `  ${row.name.padEnd(64)} ${digits(median).padStart(8)} ${row.unit}  [${range}]${bar}`,
    );
    const limit = row.bar === undefined ? "" : `${row.bar}${median <= row.bar ? "" : ", missed"}`;
    lines.push(`| ${row.name} | ${digits(median)} (${range}) | ${row.unit} | ${limit} |`);
  }
  if (write) writeTable(file.slice(0, -".bench.ts".length), lines);
}

/** Puts a bench's table between its marks. */
function writeTable(name, lines) {
  const text = readFileSync(page, "utf8");
  const marks = new RegExp(`<!-- figures ${name} -->[\\s\\S]*?<!-- /figures -->`);
  if (!marks.test(text)) return console.error(`docs/benchmarks.md has no marks for ${name}`);
  const head = "| figure | median (lowest … highest) | unit | bar |\n|---|---|---|---|";
  const date = new Date().toISOString().slice(0, 10);
  const table = `<!-- figures ${name} -->\n${machine}; ${date}\n\n${head}\n${lines.join("\n")}\n<!-- /figures -->`;
  writeFileSync(
    page,
    text.replace(marks, () => table),
  );
}

process.exit(failed ? 1 : 0);
