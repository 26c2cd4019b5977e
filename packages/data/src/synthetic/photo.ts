/**
 * Images that cost a decoder what photographs cost: noise whose power falls with frequency as in nature, with a few hard
 * edges, in colours that tell the class. Pure: the same seed gives the same pixels.
 */
import { Rng } from "@millrace/core";

const tileSide = 1024;
const tileMask = tileSide - 1;

/** Fields of 1/f noise that images are cut from, so that an image costs a mix and not a synthesis. */
export class PhotoMaker {
  private readonly tiles: readonly Uint8Array[];
  private readonly seed: number;
  private readonly grain: number;

  /** `grain` is how much of the finest octaves stays: it sets the bytes per pixel after compression. */
  constructor(seed: number, grain = 1.15) {
    this.seed = seed;
    this.grain = grain;
    this.tiles = Array.from({ length: 4 }, (_, i) => this.field(new Rng(`${seed}/tile/${i}`)));
  }

  /** RGB bytes of image `index`; `hue` in 0 … 1 is the class's colour. */
  render(index: number, width: number, height: number, hue: number): Uint8Array {
    const rng = new Rng(`${this.seed}/image/${index}`);
    const luma = this.tiles[rng.int(0, 3)] as Uint8Array;
    const chroma = this.tiles[rng.int(0, 3)] as Uint8Array;
    const [ox, oy, px, py] = [rng, rng, rng, rng].map((r) => r.int(0, tileMask)) as [
      number,
      number,
      number,
      number,
    ];
    const base = colour(hue);
    const other = colour(hue + 0.3 + 0.2 * rng.next());
    const contrast = 0.7 + 0.6 * rng.next();
    const out = new Uint8Array(width * height * 3);
    let at = 0;
    for (let y = 0; y < height; y++) {
      const lumaRow = ((y + oy) & tileMask) * tileSide;
      const chromaRow = (((y >> 1) + py) & tileMask) * tileSide;
      for (let x = 0; x < width; x++) {
        const l = ((luma[lumaRow + ((x + ox) & tileMask)] as number) - 128) * contrast;
        const m = (chroma[chromaRow + (((x >> 1) + px) & tileMask)] as number) / 255;
        for (let c = 0; c < 3; c++) {
          const value = l + (base[c] as number) * m + (other[c] as number) * (1 - m);
          out[at++] = value < 0 ? 0 : value > 255 ? 255 : value;
        }
      }
    }
    for (let i = rng.int(2, 6); i > 0; i--) ellipse(out, width, height, rng);
    return out;
  }

  /** Octaves of smooth random grids, each half as strong as the one before; wraps around. */
  private field(rng: Rng): Uint8Array {
    const sum = new Float32Array(tileSide * tileSide);
    for (let cells = 4, weight = 48; cells <= tileSide; cells *= 2, weight *= 0.86) {
      if (cells > 256) weight *= this.grain;
      const grid = Float32Array.from({ length: cells * cells }, () => rng.next() * 2 - 1);
      const step = tileSide / cells;
      for (let y = 0; y < tileSide; y++) {
        const gy = Math.floor(y / step);
        const fy = y / step - gy;
        const top = gy * cells;
        const bottom = ((gy + 1) % cells) * cells;
        for (let x = 0; x < tileSide; x++) {
          const gx = Math.floor(x / step);
          const fx = x / step - gx;
          const right = (gx + 1) % cells;
          const a = (grid[top + gx] as number) * (1 - fx) + (grid[top + right] as number) * fx;
          const b =
            (grid[bottom + gx] as number) * (1 - fx) + (grid[bottom + right] as number) * fx;
          const i = y * tileSide + x;
          sum[i] = (sum[i] as number) + weight * (a * (1 - fy) + b * fy);
        }
      }
    }
    return Uint8Array.from(sum, (value) => Math.max(0, Math.min(255, value + 128)));
  }
}

function colour(hue: number): [number, number, number] {
  const channel = (shift: number) => 128 + 90 * Math.cos(2 * Math.PI * (hue + shift));
  return [channel(0), channel(1 / 3), channel(2 / 3)];
}

function ellipse(out: Uint8Array, width: number, height: number, rng: Rng): void {
  const cx = rng.next() * width;
  const cy = rng.next() * height;
  const rx = (0.03 + 0.15 * rng.next()) * width;
  const ry = (0.03 + 0.15 * rng.next()) * height;
  const shift = rng.int(-70, 70);
  const from = Math.max(0, Math.ceil(cy - ry));
  const to = Math.min(height - 1, Math.floor(cy + ry));
  for (let y = from; y <= to; y++) {
    const half = rx * Math.sqrt(Math.max(0, 1 - ((y - cy) / ry) ** 2));
    const last = Math.min(width - 1, Math.floor(cx + half));
    for (let x = Math.max(0, Math.ceil(cx - half)); x <= last; x++)
      for (let i = (y * width + x) * 3, end = i + 3; i < end; i++)
        out[i] = Math.max(0, Math.min(255, (out[i] as number) + shift));
  }
}
