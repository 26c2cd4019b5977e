/** Token-level time of a layer for every batch size, made once per (model, device, TP, precision) and shared. */
import type { DeviceSpec, ModelSpec } from "../../types.ts";
import { Layer, type LayerDeployment } from "./layer.ts";

/** Tokens that the table covers: profiles end at 4096 or 8192, beyond is linear. */
export const TABLE_TOKENS = 8192;

export interface TokenTable {
  readonly layer: Layer;
  /** Entry t is the seconds of one layer for t tokens, 0 … TABLE_TOKENS. */
  readonly seconds: Float64Array;
  /** Seconds per further token. */
  readonly slope: number;
}

const cache = new WeakMap<ModelSpec, WeakMap<DeviceSpec, Map<string, TokenTable>>>();

/** The table of a deployment; about 300 evaluations of the layer the first time, then from memory. */
export function tokenTable(deployment: LayerDeployment): TokenTable {
  const { model, device, tensorParallel, weightBytes, kvBytes } = deployment;
  let devices = cache.get(model);
  if (devices === undefined) {
    devices = new WeakMap();
    cache.set(model, devices);
  }
  let tables = devices.get(device);
  if (tables === undefined) {
    tables = new Map();
    devices.set(device, tables);
  }
  const key = `${tensorParallel}/${weightBytes}/${kvBytes}`;
  let table = tables.get(key);
  if (table === undefined) {
    table = build(deployment);
    tables.set(key, table);
  }
  return table;
}

/** Exact up to 64 tokens, then at ever wider knots with straight lines between. */
function build(deployment: LayerDeployment): TokenTable {
  const layer = new Layer(deployment);
  const seconds = new Float64Array(TABLE_TOKENS + 1);
  let at = 1;
  let value = layer.seconds(1);
  seconds[0] = value;
  seconds[1] = value;
  while (at < TABLE_TOKENS) {
    const step = at < 64 ? 1 : at < 1024 ? 8 : at < 4096 ? 32 : 128;
    const next = layer.seconds(at + step);
    for (let i = 1; i <= step; i++) seconds[at + i] = value + ((next - value) * i) / step;
    at += step;
    value = next;
  }
  const half = seconds[TABLE_TOKENS / 2] as number;
  return { layer, seconds, slope: (value - half) / (TABLE_TOKENS / 2) };
}
