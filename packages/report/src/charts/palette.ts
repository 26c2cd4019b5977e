/**
 * Colours of charts. Every colour is a CSS variable with a fallback, so one SVG serves light and dark pages and still
 * stands alone. The eight series colours stay apart for readers with protanopia, deuteranopia and tritanopia (tested).
 */

/** Series colours on a light page and on a dark one, in slot order. */
export const seriesColours: readonly { readonly light: string; readonly dark: string }[] = [
  { light: "#3e59a7", dark: "#94b4ff" },
  { light: "#d95a05", dark: "#dc914f" },
  { light: "#2e986b", dark: "#50d59d" },
  { light: "#914785", dark: "#a15fab" },
  { light: "#7c9a2c", dark: "#f5cd39" },
  { light: "#4886db", dark: "#d9fff4" },
  { light: "#7a1f3d", dark: "#bc455e" },
  { light: "#897f91", dark: "#b4b0c8" },
];

/** Colours with a meaning. */
export const roleColours = {
  ink: { light: "#1a1f29", dark: "#e6e8ec" },
  muted: { light: "#5a6372", dark: "#9aa3b2" },
  grid: { light: "#e3e6eb", dark: "#2c323d" },
  surface: { light: "#ffffff", dark: "#14171d" },
  good: { light: "#0b7a55", dark: "#45c793" },
  bad: { light: "#b3261e", dark: "#f2857c" },
} as const;

/** A colour with a meaning, as it is written in SVG. */
export function role(name: keyof typeof roleColours): string {
  return `var(--mr-${name}, ${roleColours[name].light})`;
}

/** The colour of a slot, as it is written in SVG; slots beyond the eighth start again. */
export function slotColour(slot: number): string {
  const index = slot % seriesColours.length;
  return `var(--mr-s${index + 1}, ${seriesColours[index]?.light ?? "currentColor"})`;
}

// Names that several charts share keep their slot wherever they appear.
const fixedSlots: Readonly<Record<string, number>> = {
  ours: 0,
  paper: 7,
  prefill: 1,
  decode: 0,
  mixed: 3,
  kv: 2,
  queue: 6,
  ttft: 0,
  tbt: 1,
  e2e: 2,
  "vllm-v1": 0,
  "vllm-v0": 5,
  "sarathi-serve": 1,
  sarathi: 3,
  "simple-chunking": 4,
  orca: 2,
  "faster-transformer": 7,
  lightllm: 6,
  a100: 0,
  h100: 1,
  h200: 3,
  b200: 6,
  a40: 2,
  l40s: 4,
  l4: 5,
};

/**
 * A colour for each name: fixed for well-known names, else by a hash of the name, moved on when another name of the
 * same chart holds the slot. Charts with the same set of names agree whatever the order of their data.
 */
export function assignColours(names: Iterable<string>): Map<string, string> {
  const distinct = [...new Set(names)].sort();
  const slots = new Map<string, number>();
  const taken = new Set<number>();
  for (const name of distinct) {
    const slot = fixedSlot(name);
    if (slot === undefined || taken.has(slot)) continue;
    slots.set(name, slot);
    taken.add(slot);
  }
  for (const name of distinct) {
    if (slots.has(name)) continue;
    let slot = hash(name) % seriesColours.length;
    for (let i = 0; i < seriesColours.length && taken.has(slot); i++)
      slot = (slot + 1) % seriesColours.length;
    slots.set(name, slot);
    taken.add(slot);
  }
  return new Map([...slots].map(([name, slot]) => [name, slotColour(slot)]));
}

/** The slot of a well-known name, or of a device family: "A100-80GB" is an a100. */
function fixedSlot(name: string): number | undefined {
  const family = name.toLowerCase().split(/[-_ ]/)[0] ?? "";
  if (Object.hasOwn(fixedSlots, name)) return fixedSlots[name];
  return /\d/.test(family) && Object.hasOwn(fixedSlots, family) ? fixedSlots[family] : undefined;
}

function hash(text: string): number {
  let h = 2166136261;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 16777619);
  return h >>> 0;
}
