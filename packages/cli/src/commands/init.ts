/** `millrace init`: a commented configuration that is valid as it stands. */
import { existsSync } from "node:fs";
import { dirname, isAbsolute, join, relative, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { MillraceError } from "@millrace/core";
import { writeFileAtomic } from "@millrace/core/node";
import type { Session } from "../session.ts";
import { planTemplate, runTemplate, serveTemplate } from "../templates.ts";

const kinds = {
  run: { template: runTemplate, command: "simulate" },
  plan: { template: planTemplate, command: "plan" },
  serve: { template: serveTemplate, command: "serve" },
} as const;

type Kind = keyof typeof kinds;

export async function initCommand(
  session: Session,
  kind: string | undefined,
  file: string | undefined,
  flags: Readonly<Record<string, unknown>>,
): Promise<number> {
  const name = isKind(kind) ? kind : "run";
  const path = file ?? `${name}.yaml`;
  if (existsSync(path) && flags.force !== true)
    throw new MillraceError("USAGE", `${path} exists already`, {
      hint: `--force replaces it; or name another file: millrace init ${name} other.yaml`,
    });
  const { template, command } = kinds[name];
  const schema = await schemaFor(name, path);
  writeFileAtomic(path, template(schema.reference));
  const use = `millrace ${command} --config ${path}`;
  const model = join(dirname(path), "small.gguf");
  const next =
    name === "serve" && !existsSync(model)
      ? `millrace model make --preset small --out ${model} && ${use}`
      : use;
  if (session.json)
    session.printJson({ schema: "millrace.init/1", file: path, jsonSchema: schema.path, next });
  else {
    session.print(`wrote ${path}${schema.written ? ` and ${schema.path}` : ""}`);
    session.note(`next: ${next}`);
  }
  return 0;
}

function isKind(kind: string | undefined): kind is Kind {
  return kind !== undefined && Object.hasOwn(kinds, kind);
}

async function schemaOf(kind: Kind): Promise<unknown> {
  if (kind === "serve") return (await import("@millrace/engine/config")).serveConfigSchema();
  return (await import("@millrace/sim/config")).configSchemas()[`${kind}.schema.json`];
}

/**
 * The JSON schema of a configuration: the one of this checkout when there is one, else a copy written beside the
 * configuration, so that an editor finds it without a network.
 */
async function schemaFor(
  kind: Kind,
  configPath: string,
): Promise<{ readonly path: string; readonly reference: string; readonly written: boolean }> {
  const name = `${kind}.schema.json`;
  const folder = resolve(dirname(configPath));
  const shipped = fileURLToPath(new URL(`../../../../schemas/${name}`, import.meta.url));
  if (existsSync(shipped)) {
    const path = relative(folder, shipped);
    const near = !isAbsolute(path) && path.split(sep).filter((part) => part === "..").length < 4;
    const posix = path.split(sep).join("/");
    const reference = near ? (posix.startsWith(".") ? posix : `./${posix}`) : shipped;
    return { path: shipped, reference, written: false };
  }
  const path = join(dirname(configPath), ".millrace", name);
  writeFileAtomic(path, `${JSON.stringify(await schemaOf(kind), null, 2)}\n`);
  return { path, reference: `./.millrace/${name}`, written: true };
}
