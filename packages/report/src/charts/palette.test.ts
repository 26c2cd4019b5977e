import fc from "fast-check";
import { expect, test } from "vitest";
import { assignColours, seriesColours, slotColour } from "./palette.ts";

// Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB.
const sight: Record<string, number[][]> = {
  normal: [
    [1, 0, 0],
    [0, 1, 0],
    [0, 0, 1],
  ],
  protanopia: [
    [0.152286, 1.052583, -0.204868],
    [0.114503, 0.786281, 0.099216],
    [-0.003882, -0.048116, 1.051998],
  ],
  deuteranopia: [
    [0.367322, 0.860646, -0.227968],
    [0.280085, 0.672501, 0.047413],
    [-0.01182, 0.04294, 0.968881],
  ],
  tritanopia: [
    [1.255528, -0.076749, -0.178779],
    [-0.078411, 0.930809, 0.147602],
    [0.004733, 0.691367, 0.3039],
  ],
};

function linear(hex: string): number[] {
  return [1, 3, 5].map((i) => {
    const c = Number.parseInt(hex.slice(i, i + 2), 16) / 255;
    return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  });
}

function lab(rgb: number[]): number[] {
  const [r, g, b] = rgb.map((v) => Math.max(0, Math.min(1, v)));
  const f = (t: number) => (t > 0.008856 ? Math.cbrt(t) : 7.787 * t + 16 / 116);
  const x = f((0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.95047);
  const y = f(0.2126 * r + 0.7152 * g + 0.0722 * b);
  const z = f((0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.08883);
  return [116 * y - 16, 500 * (x - y), 200 * (y - z)];
}

function luminance(hex: string): number {
  const [r, g, b] = linear(hex);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

for (const mode of ["light", "dark"] as const) {
  for (const [name, matrix] of Object.entries(sight))
    test(`series colours differ on a ${mode} page with ${name}`, () => {
      const seen = seriesColours.map((s) => {
        const rgb = linear(s[mode]);
        return lab(matrix.map((row) => row.reduce((sum, m, i) => sum + m * rgb[i], 0)));
      });
      for (let i = 0; i < seen.length; i++)
        for (let j = i + 1; j < seen.length; j++) {
          const difference = Math.hypot(...seen[i].map((v, k) => v - seen[j][k]));
          expect(difference, `slots ${i + 1} and ${j + 1}`).toBeGreaterThan(14);
        }
    });

  test(`series colours have a contrast of 3 on a ${mode} page`, () => {
    const page = luminance(mode === "light" ? "#ffffff" : "#14171d");
    for (const s of seriesColours) {
      const l = luminance(s[mode]);
      expect((Math.max(l, page) + 0.05) / (Math.min(l, page) + 0.05)).toBeGreaterThan(3);
    }
  });
}

test("up to eight names have colours of their own, whatever their order", () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.string(), { maxLength: 8 }), (names) => {
      const colours = assignColours(names);
      expect(new Set(colours.values()).size).toBe(names.length);
      expect(assignColours([...names].reverse())).toEqual(colours);
    }),
  );
});

test("well-known names keep their colour beside any others", () => {
  expect(assignColours(["sarathi-serve", "zzz"]).get("sarathi-serve")).toBe(slotColour(1));
  expect(assignColours(["A100-80GB", "H100"]).get("A100-80GB")).toBe(slotColour(0));
  expect(assignColours(["__proto__", "constructor"]).size).toBe(2);
});
