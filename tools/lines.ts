/** Prints lines of source and of tests per package, so that growth is seen in CI. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(fileURLToPath(import.meta.url), "../..");
function count(dir: string): { source: number; tests: number; files: number } {
  let source = 0;
  let tests = 0;
  let files = 0;
  for (const entry of readdirSync(dir, { withFileTypes: true, recursive: true })) {
    if (!entry.isFile() || !/\.tsx?$/.test(entry.name)) continue;
    const lines =
      readFileSync(join(entry.parentPath ?? entry.path, entry.name), "utf8").split("\n").length - 1;
    if (/\.(test|conformance)\.tsx?$/.test(entry.name)) tests += lines;
    else {
      source += lines;
      files++;
    }
  }
  return { source, tests, files };
}
console.log("package     files  source   tests");
for (const name of readdirSync(join(root, "packages")).sort()) {
  const c = count(join(root, "packages", name, "src"));
  console.log(
    `${name.padEnd(10)} ${String(c.files).padStart(6)} ${String(c.source).padStart(7)} ${String(c.tests).padStart(7)}`,
  );
}
