/**
 * Checks the import rule: a package imports only what the table below allows, declares it in its package.json,
 * and never reaches into another package's src. One table, so that the architecture is a diff away.
 */
import { readdirSync, readFileSync } from "node:fs";
import { builtinModules } from "node:module";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(fileURLToPath(import.meta.url), "../..");

/** Package -> packages it may import. Everything may import core. */
const allowed: Readonly<Record<string, readonly string[]>> = {
  core: [],
  serving: ["core"],
  report: ["core"],
  sim: ["serving", "core"],
  system: ["core"],
  ggml: ["system", "core"],
  engine: ["serving", "ggml", "system", "core"],
  bench: ["report", "serving", "core"],
  data: ["report", "system", "core"],
  remat: ["report", "ggml", "core"],
  extreme: ["report", "ggml", "system", "core"],
  cluster: ["report", "data", "system", "core"],
  cli: [
    "core",
    "serving",
    "report",
    "sim",
    "system",
    "ggml",
    "engine",
    "bench",
    "data",
    "remat",
    "extreme",
    "cluster",
  ],
};

/** Source folders that must stay free of Node built-ins, so that they also run in a browser. */
const pure: readonly RegExp[] = [
  /^packages\/core\/src\/(?!node\/|solver\/)/,
  /^packages\/serving\/src\//,
  /^packages\/data\/src\/stall-model\//,
  /^packages\/sim\/src\/(?!node\/|search\/|queue\/)/,
];

const builtins = new Set(builtinModules.flatMap((m) => [m, `node:${m}`]));
const importPattern =
  /(?:^|\n)\s*(?:import|export)\b[^;'"]*?\bfrom\s*["']([^"']+)["']|\bimport\s*\(\s*["']([^"']+)["']\s*\)|(?:^|\n)\s*import\s*["']([^"']+)["']/g;

function* walk(dir: string): Generator<string> {
  for (const entry of readdirSync(dir, { withFileTypes: true })) {
    const path = join(dir, entry.name);
    if (entry.isDirectory()) yield* walk(path);
    else if (/\.tsx?$/.test(entry.name)) yield path;
  }
}

const problems: string[] = [];
const packages = readdirSync(join(root, "packages"));
for (const name of packages) {
  const rule = allowed[name];
  if (rule === undefined) {
    problems.push(`packages/${name}: not in the table of tools/check-layers.ts`);
    continue;
  }
  const manifest = JSON.parse(readFileSync(join(root, "packages", name, "package.json"), "utf8"));
  const declared = new Set([
    ...Object.keys(manifest.dependencies ?? {}),
    ...Object.keys(manifest.peerDependencies ?? {}),
    ...Object.keys(manifest.optionalDependencies ?? {}),
  ]);
  for (const dep of declared) {
    const own = /^@millrace\/(.+)$/.exec(dep)?.[1];
    if (own !== undefined && !rule.includes(own))
      problems.push(`packages/${name}/package.json: must not depend on ${dep}`);
  }
  for (const file of walk(join(root, "packages", name, "src"))) {
    const where = relative(root, file);
    const isTest = /\.(test|conformance)\.tsx?$/.test(file);
    const text = readFileSync(file, "utf8");
    for (const match of text.matchAll(importPattern)) {
      const target = match[1] ?? match[2] ?? match[3] ?? "";
      if (target.startsWith(".")) {
        if (!join(file, "..", target).startsWith(join(root, "packages", name, "src")))
          problems.push(`${where}: "${target}" leaves its package`);
        continue;
      }
      if (builtins.has(target)) {
        if (!isTest && pure.some((p) => p.test(where)))
          problems.push(`${where}: "${target}" in a layer that must run in a browser`);
        continue;
      }
      const scoped = target.startsWith("@")
        ? target.split("/").slice(0, 2).join("/")
        : (target.split("/")[0] ?? "");
      const own = /^@millrace\/(.+)$/.exec(scoped)?.[1];
      if (own !== undefined && !rule.includes(own))
        problems.push(`${where}: ${name} may not import ${scoped}`);
      else if (own !== undefined && target.includes("/src/"))
        problems.push(`${where}: "${target}" reaches into another package's source`);
      else if (!isTest && !declared.has(scoped))
        problems.push(`${where}: "${scoped}" is not in packages/${name}/package.json`);
    }
  }
}
for (const p of problems) console.error(p);
console.error(
  problems.length === 0
    ? `layers: ${packages.length} packages keep the import rule`
    : `layers: ${problems.length} problem(s)`,
);
process.exit(problems.length === 0 ? 0 : 1);
