/**
 * Vidur's look-up tables: per-layer operator times in milliseconds for every key of its prediction domain. A folder holds
 * `PREFIX.json` (operator -> shape) and one `PREFIX.OPERATOR.f64` of little-endian float64 per operator.
 */
import { MillraceError } from "@millrace/core";

/** Operators whose time depends on the number of tokens of the batch alone. */
export const tokenOperators = [
  "attn_pre_proj",
  "attn_post_proj",
  "attn_rope",
  "attn_kv_cache_save",
  "input_layernorm",
  "post_attention_layernorm",
  "mlp_up_proj",
  "mlp_act",
  "mlp_down_proj",
  "add",
] as const;

export type TokenOperator = (typeof tokenOperators)[number];

/** KV sizes are tabulated at 0, 64, 128, …: Vidur's default prediction granularity. */
export const KV_GRANULARITY = 64;

/** A dense table, row major. */
export interface Grid {
  readonly rows: number;
  readonly columns: number;
  /** Milliseconds, finite and not negative. */
  readonly values: Float64Array;
}

/** The whole domain of one (model, device, TP). */
export interface VidurTables {
  /** Entry i is the time of i + 1 tokens; all of one length. */
  readonly token: Readonly<Record<TokenOperator, Float64Array>>;
  /** Row b-1 = b sequences, column k = k * 64 tokens of KV each (mean). */
  readonly decode: Grid;
  /** Row k = k * 64 tokens of KV, column c-1 = a chunk of c tokens. */
  readonly prefill: Grid;
  /** By tokens, as `token`; null when not profiled (TP 1). */
  readonly allReduce: Float64Array | null;
  /** By tokens, as `token`; null when not profiled (PP 1). */
  readonly sendRecv: Float64Array | null;
  /** Where the tables come from, for reports. */
  readonly source: string;
  /** Tables that no profile stands behind. */
  readonly unfitted: readonly string[];
}

/** Files by name, as read from one folder. */
export type TableFiles = ReadonlyMap<string, Uint8Array>;

/**
 * Reads the tables `PREFIX.*` out of a folder's files. `folder` is used in messages only.
 * Throws PROFILE_INVALID naming the first file that is missing, truncated or not finite.
 */
export function parseVidurTables(files: TableFiles, prefix: string, folder: string): VidurTables {
  const shapes = readShapes(files, prefix, folder);
  const read = (operator: string, dimensions: number): Grid => {
    const grid = readGrid(files, `${prefix}.${operator}.f64`, shapes[operator], dimensions, folder);
    return grid;
  };
  const token = {} as Record<TokenOperator, Float64Array>;
  for (const operator of tokenOperators) token[operator] = read(operator, 1).values;
  const optional = (operator: string): Float64Array | null =>
    shapes[operator] === undefined ? null : read(operator, 1).values;
  const tables: VidurTables = {
    token,
    decode: read("attn_decode", 2),
    prefill: read("attn_prefill", 2),
    allReduce: optional("all_reduce"),
    sendRecv: optional("send_recv"),
    source: `Vidur tables ${folder}/${prefix}.*`,
    unfitted: [],
  };
  const length = token.add.length;
  const uneven = [...tokenOperators, "all_reduce", "send_recv"].find(
    (operator) => shapes[operator] !== undefined && shapes[operator]?.[0] !== length,
  );
  if (uneven !== undefined)
    throw broken(`${folder}/${prefix}.json`, `${uneven} does not have the length ${length} of add`);
  return tables;
}

function broken(file: string, problem: string): MillraceError {
  return new MillraceError("PROFILE_INVALID", `${file}: ${problem}`, {
    hint: "Export the tables again; a folder needs PREFIX.json and one PREFIX.OPERATOR.f64 for each of its operators.",
    at: { file },
  });
}

function readShapes(
  files: TableFiles,
  prefix: string,
  folder: string,
): Readonly<Record<string, readonly number[] | undefined>> {
  const file = `${prefix}.json`;
  const bytes = files.get(file);
  if (bytes === undefined)
    throw broken(`${folder}/${file}`, "the file that lists the tables is missing");
  let parsed: unknown;
  try {
    parsed = JSON.parse(new TextDecoder().decode(bytes));
  } catch (cause) {
    throw broken(`${folder}/${file}`, `not valid JSON (${(cause as Error).message})`);
  }
  if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed))
    throw broken(`${folder}/${file}`, "expected an object of operator -> shape");
  for (const [operator, shape] of Object.entries(parsed)) {
    const good =
      Array.isArray(shape) &&
      shape.every((n) => Number.isInteger(n) && n > 0) &&
      shape.length >= 1 &&
      shape.length <= 2;
    if (!good)
      throw broken(`${folder}/${file}`, `shape of ${operator} is ${JSON.stringify(shape)}`);
  }
  return parsed as Record<string, number[]>;
}

function readGrid(
  files: TableFiles,
  name: string,
  shape: readonly number[] | undefined,
  dimensions: number,
  folder: string,
): Grid {
  const file = `${folder}/${name}`;
  if (shape === undefined) throw broken(file, "the table is not listed in the JSON file of shapes");
  if (shape.length !== dimensions)
    throw broken(file, `shape [${shape}] should have ${dimensions} dimension(s)`);
  const bytes = files.get(name);
  if (bytes === undefined) throw broken(file, "the table is missing");
  const [first = 1, second] = shape;
  const rows = second === undefined ? 1 : first;
  const columns = second ?? first;
  const count = rows * columns;
  if (bytes.byteLength !== count * 8)
    throw broken(file, `holds ${bytes.byteLength} bytes where shape [${shape}] needs ${count * 8}`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const values = new Float64Array(count);
  for (let i = 0; i < count; i++) {
    const value = view.getFloat64(i * 8, true);
    if (!(value >= 0 && value < Number.POSITIVE_INFINITY))
      throw broken(file, `entry ${i} is ${value}; times are finite milliseconds of at least 0`);
    values[i] = value;
  }
  return { rows, columns, values };
}
