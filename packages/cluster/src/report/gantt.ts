/** Who held which GPU of which server when, as SVG: a lane per GPU, grouped by server, a colour per model. */
import type { Segment } from "../simulator/timeline.ts";

/** What to draw. */
export interface ServerGantt {
  readonly segments: readonly Segment[];
  /** Colour group and label of a job by its row. */
  readonly nameOf: (job: number) => string;
  readonly groupOf: (job: number) => string;
  readonly servers: readonly { readonly name: string; readonly gpus: number }[];
  /** Seconds. */
  readonly from: number;
  readonly to: number;
}

const width = 960;
const left = 52;
const lane = 7;
const gap = 6;
const top = 18;
/** More boxes than this make a file that browsers are slow with. */
const mostBoxes = 6000;

/** Colours that stay apart in light and dark, for as many groups as there are. */
function colour(index: number): string {
  return `hsl(${(index * 137.5 + 205) % 360} 55% 52%)`;
}

/** The chart with its legend. */
export function serverGantt(chart: ServerGantt): {
  readonly svg: string;
  /** Boxes left out beyond the most that are drawn. */
  readonly leftOut: number;
} {
  const { from, to, servers } = chart;
  const span = Math.max(1, to - from);
  const x = (at: number) =>
    left + ((Math.min(Math.max(at, from), to) - from) / span) * (width - left - 8);
  const starts: number[] = [];
  let height = top;
  for (const { gpus } of servers) {
    starts.push(height);
    height += gpus * lane + gap;
  }
  // By name, so that charts of the same jobs have the same colours.
  const names = [...new Set(chart.segments.map(({ job }) => chart.groupOf(job)))].sort();
  const groups = new Map(names.map((name, i) => [name, colour(i)]));
  const boxes: string[] = [];
  let leftOut = 0;
  for (const box of merged(chart)) {
    const group = chart.groupOf(box.job);
    const fill = groups.get(group);
    if (boxes.length >= mostBoxes) {
      leftOut++;
      continue;
    }
    const y = (starts[box.server] as number) + box.gpu * lane;
    const w = Math.max(0.4, x(box.to) - x(box.from) - 0.3);
    boxes.push(
      `<rect x="${x(box.from).toFixed(1)}" y="${y}" width="${w.toFixed(1)}" height="${lane - 1}" fill="${fill}"><title>${escaped(`${chart.nameOf(box.job)} (${group}), ${box.cpus} CPUs`)}</title></rect>`,
    );
  }
  const labels = servers.map(
    ({ name, gpus }, s) =>
      `<text x="${left - 6}" y="${(starts[s] as number) + (gpus * lane) / 2 + 4}" text-anchor="end" font-size="11" fill="currentColor">${escaped(name)}</text><rect x="${left}" y="${starts[s]}" width="${width - left - 8}" height="${gpus * lane}" fill="currentColor" opacity="0.06"/>`,
  );
  const key = legend(groups, height + 6);
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${key.bottom}" role="img" aria-label="Jobs on GPUs over time" font-family="system-ui, sans-serif">${ticks(from, to, x, height)}${labels.join("")}${boxes.join("")}${key.svg}</svg>`;
  return { svg, leftOut };
}

/** Swatches with names, in as many rows as they need. */
function legend(
  groups: ReadonlyMap<string, string>,
  from: number,
): { readonly svg: string; readonly bottom: number } {
  const items: string[] = [];
  let at = left;
  let y = from;
  for (const [group, fill] of groups) {
    const space = 26 + 7 * group.length;
    if (at + space > width && at > left) {
      at = left;
      y += 18;
    }
    items.push(
      `<rect x="${at}" y="${y}" width="10" height="10" fill="${fill}"/><text x="${at + 14}" y="${y + 9}" font-size="11" fill="currentColor">${escaped(group)}</text>`,
    );
    at += space;
  }
  return { svg: items.join(""), bottom: y + 16 };
}

interface Box {
  readonly job: number;
  readonly server: number;
  readonly gpu: number;
  readonly cpus: number;
  readonly from: number;
  to: number;
}

/** One box per job and GPU without a break, inside the window, by start. */
function merged({ segments, from, to, servers }: ServerGantt): readonly Box[] {
  const open = new Map<string, Box>();
  const boxes: Box[] = [];
  const sorted = [...segments].sort((a, b) => a.from - b.from);
  for (const segment of sorted) {
    if (segment.to <= from || segment.from >= to || segment.server >= servers.length) continue;
    for (const gpu of segment.gpus) {
      const key = `${segment.server}/${gpu}`;
      const before = open.get(key);
      if (before !== undefined && before.job === segment.job && before.to === segment.from) {
        before.to = segment.to;
        continue;
      }
      const { job, server, cpus } = segment;
      const box: Box = { job, server, gpu, cpus, from: segment.from, to: segment.to };
      open.set(key, box);
      boxes.push(box);
    }
  }
  return boxes;
}

function ticks(from: number, to: number, x: (at: number) => number, height: number): string {
  const hours = (to - from) / 3600;
  const step = [1, 2, 6, 12, 24, 48, 96, 168].find((s) => hours / s <= 10) ?? 336;
  const marks: string[] = [];
  for (let h = Math.ceil(from / 3600 / step) * step; h * 3600 <= to; h += step) {
    const at = x(h * 3600).toFixed(1);
    // At the edge a centred label would be cut.
    const anchor = x(h * 3600) > width - 24 ? "end" : "middle";
    marks.push(
      `<line x1="${at}" x2="${at}" y1="${top - 4}" y2="${height - gap}" stroke="currentColor" opacity="0.15"/><text x="${at}" y="11" font-size="11" text-anchor="${anchor}" fill="currentColor">${h} h</text>`,
    );
  }
  return marks.join("");
}

function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;");
}
