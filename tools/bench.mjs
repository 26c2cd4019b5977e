/**
 * Runs the benches: every file under bench/ in five fresh processes, one after the other, and prints medians with
 * their spread beside the bar of each figure. Run it on an idle machine: nothing here is asserted anywhere. With --write
 * the tables of docs/benchmarks.md are replaced by what was measured. A bench that takes long is run in pieces: with
 * --keep=FILE the processes are added to those in FILE and the table is of all of them; --processes=0 runs none.
 */
import { spawnSync } from "node:child_process";
import { appendFileSync, existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
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
const kept = process.argv.find((a) => a.startsWith("--keep="))?.slice(7);
const page = join(root, "docs/benchmarks.md");
const machine = `${cpus()[0]?.model ?? "unknown CPU"} x ${cpus().length}, ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.version}`;
console.log(machine);
let failed = false;
for (const file of files) {
  const rows = new Map();
  const before = keptOf(file);
  const count = before.length + processes;
  for (const figures of before) add(rows, figures);
  for (let i = before.length; i < count; i++) {
    const r = spawnSync(
      process.execPath,
      ["--expose-gc", "--max-semi-space-size=256", "--import", "tsx", join("bench", file)],
      {
        cwd: root,
        encoding: "utf8",
        maxBuffer: 1 << 26,
        // Which of the processes it is: benches that compare take turns at who goes first.
        env: { ...process.env, BENCH_PROCESS: String(i) },
      },
    );
    if (r.status !== 0) {
      console.error(`${file} failed:\n${r.stderr}`);
      failed = true;
      break;
    }
    const figures = r.stdout
      .split("\n")
      .filter((line) => line.startsWith("{"))
      .map((line) => JSON.parse(line));
    if (kept !== undefined) appendFileSync(kept, `${JSON.stringify({ file, figures })}\n`);
    add(rows, figures);
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
  if (write) writeTable(file.slice(0, -".bench.ts".length), lines, count);
}

/** Adds the figures of one process. */
function add(rows, figures) {
  for (const figure of figures) {
    const row = rows.get(figure.name) ?? { ...figure, values: [] };
    row.values.push(figure.value);
    rows.set(figure.name, row);
  }
}

/** Figures of the processes of a bench that were kept. */
function keptOf(file) {
  if (kept === undefined || !existsSync(kept)) return [];
  return readFileSync(kept, "utf8")
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line))
    .filter((piece) => piece.file === file)
    .map((piece) => piece.figures);
}

/** Puts a bench's table between its marks. */
function writeTable(name, lines, count) {
  const text = readFileSync(page, "utf8");
  const marks = new RegExp(`<!-- figures ${name} -->[\\s\\S]*?<!-- /figures -->`);
  if (!marks.test(text)) return console.error(`docs/benchmarks.md has no marks for ${name}`);
  const head = "| figure | median (lowest … highest) | unit | bar |\n|---|---|---|---|";
  const date = new Date().toISOString().slice(0, 10);
  const table = `<!-- figures ${name} -->\n${machine}; medians of ${count} processes [min … max]; ${date}\n\n${head}\n${lines.join("\n")}\n<!-- /figures -->`;
  writeFileSync(
    page,
    text.replace(marks, () => table),
  );
}

process.exit(failed ? 1 : 0);
