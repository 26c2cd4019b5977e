/** `millrace data inspect`: a data set, or what lies in shared memory. */
import { formatBytes } from "@millrace/core";
import {
  type CacheOverview,
  cacheOverviews,
  cachePath,
  cleanRings,
  FileReader,
  openSource,
  removeCache,
  rings,
  type Source,
} from "@millrace/data";
import type { Session } from "../../session.ts";
import { table } from "../../ui/table.ts";
import { type SourceFlags, sourceOptions } from "./source.ts";

interface InspectFlags extends SourceFlags {
  readonly verify?: boolean;
  readonly clean?: boolean;
  readonly dropCaches?: boolean;
}

export async function dataInspectCommand(
  session: Session,
  path: string | undefined,
  given: Readonly<Record<string, unknown>>,
): Promise<number> {
  const flags = given as InspectFlags;
  if (path === undefined) return sharedMemory(session, flags);
  const source = await openSource(await sourceOptions(path, flags));
  const cached = cacheOverviews().find((cache) => cache.path === cachePath(source)) ?? null;
  const sizes = Float64Array.from(
    { length: source.length },
    (_, i) => source.extent(i).bytes,
  ).sort();
  const at = (q: number): number => sizes[Math.floor(q * (sizes.length - 1))] as number;
  const unreadable = flags.verify === true ? await verify(session, source) : null;
  const result = {
    schema: "millrace.data-inspect/1",
    kind: source.kind,
    path: source.path,
    items: source.length,
    bytes: source.totalBytes,
    itemBytes: { min: at(0), p50: at(0.5), p90: at(0.9), p99: at(0.99), max: at(1) },
    classes: source.classes,
    identity: source.identity,
    first: source.name(0),
    cache: cached,
    unreadable,
  };
  if (session.json) session.printJson(result);
  else {
    const lines: [string, string][] = [
      ["form", source.kind],
      ["items", String(source.length)],
      ["bytes", formatBytes(source.totalBytes)],
      [
        "bytes of an item",
        `p50 ${formatBytes(at(0.5))}  p90 ${formatBytes(at(0.9))}  max ${formatBytes(at(1))}`,
      ],
      ["classes", source.classes.length > 0 ? String(source.classes.length) : "none named"],
      ["first item", source.name(0)],
      ["cached", cached === null ? "nothing" : cachedText(cached)],
    ];
    if (unreadable !== null) lines.push(["unreadable", String(unreadable.length)]);
    session.print(
      lines.map(([name, value]) => `${session.paint("faint", name.padEnd(17))} ${value}`),
    );
    for (const { name, reason } of (unreadable ?? []).slice(0, 20))
      session.print(`  ${name}: ${reason}`);
  }
  return unreadable !== null && unreadable.length > 0 ? 1 : 0;
}

const cachedText = (cache: CacheOverview): string =>
  `${cache.items} items, ${formatBytes(cache.usedBytes)} of ${formatBytes(cache.capacityBytes)}${cache.live ? ", in use" : ""}`;

async function verify(
  session: Session,
  source: Source,
): Promise<{ readonly name: string; readonly reason: string }[]> {
  await using reader = new FileReader({ mode: "drop" });
  const bad: { name: string; reason: string }[] = [];
  const progress = session.progress();
  let buffer = Buffer.alloc(1 << 20);
  for (let item = 0; item < source.length; item++) {
    const extent = source.extent(item);
    if (buffer.length < reader.room(extent)) buffer = Buffer.alloc(2 * reader.room(extent));
    try {
      await reader.read({ item, key: source.key(item), extent }, buffer);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      bad.push({ name: source.name(item), reason });
    }
    progress.update({ phase: "reading items", done: item + 1, total: source.length });
  }
  progress.end();
  return bad;
}

function sharedMemory(session: Session, flags: InspectFlags): number {
  const removed = flags.clean === true || flags.dropCaches === true ? cleanRings() : [];
  const dropped = flags.dropCaches === true ? cacheOverviews().filter(removeCache) : [];
  const staging = rings();
  const caches = cacheOverviews();
  if (session.json) {
    session.printJson({
      schema: "millrace.data-inspect/1",
      rings: staging,
      caches,
      removed: [...removed, ...dropped.map(({ path }) => path)],
    });
    return 0;
  }
  for (const path of removed) session.note(`removed ${path}`);
  for (const { path } of dropped) session.note(`removed ${path}`);
  if (staging.length + caches.length === 0) {
    session.print("nothing of this user lies in shared memory");
    return 0;
  }
  session.print(
    table(
      [{ title: "what" }, { title: "of", least: 20 }, { title: "holds" }, { title: "used by" }],
      [
        ...staging.map(({ path, live }) => ["ring", path, "", live ? "a service" : "nobody"]),
        ...caches.map((cache) => [
          "cache",
          cache.of ?? cache.path,
          `${cache.items} items, ${formatBytes(cache.usedBytes)}`,
          cache.live ? "a job" : "nobody",
        ]),
      ],
      { width: session.width, paint: session.paint },
    ),
  );
  return 0;
}
