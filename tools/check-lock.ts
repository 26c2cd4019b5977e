/** Checks that the lock file installs everywhere: each optional dependency of a locked package is locked too, and no registry address is recorded. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

interface Entry {
  readonly resolved?: string;
  readonly link?: boolean;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}
const root = join(fileURLToPath(import.meta.url), "../..");
const lock = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8")) as {
  packages: Record<string, Entry>;
};
const problems: string[] = [];
for (const [path, entry] of Object.entries(lock.packages)) {
  if (entry.resolved !== undefined && entry.link !== true && /^[a-z+]+:\/\//.test(entry.resolved))
    problems.push(`${path}: records the address ${entry.resolved}`);
  for (const name of Object.keys(entry.optionalDependencies ?? {})) {
    // npm looks a dependency up in the nearest node_modules above the package.
    let at: string | undefined = path;
    let found = false;
    while (at !== undefined && !found) {
      found = `${at === "" ? "" : `${at}/`}node_modules/${name}` in lock.packages;
      at = at === "" ? undefined : at.includes("/") ? at.slice(0, at.lastIndexOf("/")) : "";
    }
    if (!found)
      problems.push(
        `${path}: optional dependency ${name} is not locked; npm ci would refuse the file`,
      );
  }
}
for (const p of problems) console.error(p);
console.error(
  problems.length === 0
    ? `lock: ${Object.keys(lock.packages).length} entries are complete`
    : `lock: ${problems.length} problem(s); delete node_modules and package-lock.json, then npm install`,
);
process.exit(problems.length === 0 ? 0 : 1);
