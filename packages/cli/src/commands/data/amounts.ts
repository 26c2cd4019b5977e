/** Values of the data commands' flags that are more than a number. */
import { MillraceError, parseBytes } from "@millrace/core";
import { parseStorageModel, type Resource } from "@millrace/data";

/** A size, or a share of `whole`: `64GB`, `40%`. Throws MillraceError. */
export function sizeOrShare(value: string, whole: number, flag: string): number {
  const percent = /^([\d.]+)\s*%$/.exec(value.trim());
  if (percent === null) return parseBytes(value, flag);
  return Math.round(shareOf(value, flag) * whole);
}

/** `35%` or `0.35` as a share. Throws MillraceError USAGE outside 0 … 100 %. */
export function shareOf(value: string, flag: string): number {
  const text = value.trim();
  const share = text.endsWith("%") ? Number(text.slice(0, -1)) / 100 : Number(text);
  if (text !== "" && text !== "%" && share >= 0 && share <= 1) return share;
  throw new MillraceError(
    "USAGE",
    `${flag}: expected a share such as 35%, got ${JSON.stringify(value)}`,
  );
}

/** Whole numbers between commas. Throws MillraceError USAGE. */
export function counts(value: string, flag: string): readonly number[] {
  return value.split(",").map((part) => {
    const number = Number(part);
    if (/^\s*\d+\s*$/.test(part) && number >= 1) return number;
    throw new MillraceError(
      "USAGE",
      `${flag}: expected whole numbers between commas, got ${JSON.stringify(value)}`,
    );
  });
}

const resources: Readonly<Record<string, Resource>> = {
  cache: "cacheBytes",
  cores: "cores",
  storage: "storage",
  network: "network",
  accelerator: "accelerator",
  jobs: "jobs",
};

/** `cores=8`, `cache=64GB`, `storage=500MB/s`, … Throws MillraceError USAGE or CONFIG_INVALID. */
export function question(
  text: string,
  datasetBytes: number,
): { readonly resource: Resource; readonly value: number } {
  const [, name = "", amount = ""] = /^([a-z]+)=(.+)$/.exec(text.trim()) ?? [];
  const resource = Object.hasOwn(resources, name) ? resources[name] : undefined;
  if (resource === undefined)
    throw new MillraceError("USAGE", `--what-if: ${JSON.stringify(text)} is no question`, {
      hint: "ask cache=64GB, cores=8, storage=500MB/s, network=1GB/s, accelerator=2000 or jobs=4",
    });
  if (resource === "cacheBytes")
    return { resource, value: sizeOrShare(amount, datasetBytes, "--what-if cache") };
  if (resource === "storage" || resource === "network")
    return { resource, value: parseStorageModel(amount).bytesPerSecond };
  if (resource === "jobs") {
    const [value = 1, ...more] = counts(amount, `--what-if ${name}`);
    if (more.length === 0) return { resource, value };
  }
  const value = Number(amount.replace(/\/s$/, ""));
  if (value > 0 && Number.isFinite(value)) return { resource, value };
  throw new MillraceError(
    "USAGE",
    `--what-if ${name}: expected a number above 0, got ${JSON.stringify(amount)}`,
  );
}
