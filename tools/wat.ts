/**
 * Assembles the WebAssembly text format, as far as the SIMD kernels of this repository use it: one module of an imported
 * memory and exported functions, folded or flat instructions, named locals and labels. Run as a program it turns each
 * kernels.wat into the bytes that are checked in beside it; a test compares the two.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

type Node = string | readonly Node[];

/** Text to nested lists. */
function parse(text: string): Node[] {
  const tokens = text.replace(/;;[^\n]*/g, "").match(/"[^"]*"|[()]|[^\s()]+/g) ?? [];
  const stack: Node[][] = [[]];
  for (const token of tokens) {
    if (token === "(") stack.push([]);
    else if (token === ")") {
      const done = stack.pop();
      if (done === undefined || stack.length === 0) throw new Error("unbalanced )");
      (stack.at(-1) as Node[]).push(done);
    } else (stack.at(-1) as Node[]).push(token);
  }
  if (stack.length !== 1) throw new Error("unbalanced (");
  return stack[0] as Node[];
}

const types: Readonly<Record<string, number>> = {
  i32: 0x7f,
  i64: 0x7e,
  f32: 0x7d,
  f64: 0x7c,
  v128: 0x7b,
};

/** Instructions without operands. */
const plain: Readonly<Record<string, readonly number[]>> = {
  return: [0x0f],
  drop: [0x1a],
  select: [0x1b],
  nop: [0x01],
  "i32.eqz": [0x45],
  "i32.eq": [0x46],
  "i32.ne": [0x47],
  "i32.lt_s": [0x48],
  "i32.lt_u": [0x49],
  "i32.gt_s": [0x4a],
  "i32.gt_u": [0x4b],
  "i32.le_s": [0x4c],
  "i32.le_u": [0x4d],
  "i32.ge_s": [0x4e],
  "i32.ge_u": [0x4f],
  "i32.ctz": [0x68],
  "i32.add": [0x6a],
  "i32.sub": [0x6b],
  "i32.mul": [0x6c],
  "i32.and": [0x71],
  "i32.or": [0x72],
  "i32.shl": [0x74],
  "i32.shr_s": [0x75],
  "i32.shr_u": [0x76],
  "f32.add": [0x92],
  "f32.sub": [0x93],
  "f32.mul": [0x94],
  "f32.div": [0x95],
  "f32.sqrt": [0x91],
  "f32.neg": [0x8c],
  "f32.min": [0x96],
  "f32.max": [0x97],
  "f32.eq": [0x5b],
  "f32.gt": [0x5e],
  "f32.lt": [0x5d],
  "f32.convert_i32_s": [0xb2],
  "i32x4.splat": [0xfd, 0x11],
  "f32x4.splat": [0xfd, 0x13],
  "f32x4.eq": [0xfd, 0x41],
  "f32x4.gt": [0xfd, 0x44],
  "f32x4.ge": [0xfd, 0x46],
  "i32x4.eq": [0xfd, 0x37],
  "i32x4.lt_u": [0xfd, 0x3a],
  "i32x4.gt_s": [0xfd, 0x3b],
  "v128.and": [0xfd, 0x4e],
  "v128.xor": [0xfd, 0x51],
  "v128.any_true": [0xfd, 0x53],
  "i32x4.bitmask": [0xfd, 0xa4, 0x01],
  "f32x4.nearest": [0xfd, 0x6a],
  "f32x4.sqrt": [0xfd, 0xe3, 0x01],
  "f32x4.add": [0xfd, 0xe4, 0x01],
  "f32x4.sub": [0xfd, 0xe5, 0x01],
  "f32x4.mul": [0xfd, 0xe6, 0x01],
  "f32x4.div": [0xfd, 0xe7, 0x01],
  "f32x4.min": [0xfd, 0xe8, 0x01],
  "f32x4.max": [0xfd, 0xe9, 0x01],
  "i32x4.add": [0xfd, 0xae, 0x01],
  "i32x4.sub": [0xfd, 0xb1, 0x01],
  "i32x4.shl": [0xfd, 0xab, 0x01],
  "i32x4.shr_u": [0xfd, 0xad, 0x01],
  "i32x4.mul": [0xfd, 0xb5, 0x01],
  "i32x4.dot_i16x8_s": [0xfd, 0xba, 0x01],
  "i16x8.extend_low_i8x16_u": [0xfd, 0x89, 0x01],
  "i16x8.extend_high_i8x16_u": [0xfd, 0x8a, 0x01],
  "i8x16.swizzle": [0xfd, 0x0e],
  "i8x16.splat": [0xfd, 0x0f],
  "i8x16.add": [0xfd, 0x6e],
  "i16x8.shl": [0xfd, 0x8b, 0x01],
  "i16x8.shr_u": [0xfd, 0x8d, 0x01],
  "i16x8.add": [0xfd, 0x8e, 0x01],
  "i16x8.sub": [0xfd, 0x91, 0x01],
  "i16x8.q15mulr_sat_s": [0xfd, 0x82, 0x01],
  "i32x4.extend_low_i16x8_s": [0xfd, 0xa7, 0x01],
  "i32x4.extend_high_i16x8_s": [0xfd, 0xa8, 0x01],
  "i32x4.extend_low_i16x8_u": [0xfd, 0xa9, 0x01],
  "i32x4.extend_high_i16x8_u": [0xfd, 0xaa, 0x01],
  "i32x4.shr_s": [0xfd, 0xac, 0x01],
  "i16x8.narrow_i32x4_u": [0xfd, 0x86, 0x01],
  "i32x4.min_s": [0xfd, 0xb6, 0x01],
  "i32x4.trunc_sat_f32x4_s": [0xfd, 0xf8, 0x01],
  "f32x4.convert_i32x4_s": [0xfd, 0xfa, 0x01],
};
/** Loads and stores: code and log2 of the natural alignment. */
const memory: Readonly<Record<string, readonly [readonly number[], number]>> = {
  "i32.load": [[0x28], 2],
  "f32.load": [[0x2a], 2],
  "i32.store": [[0x36], 2],
  "f32.store": [[0x38], 2],
  "v128.load": [[0xfd, 0x00], 4],
  "v128.load16x4_u": [[0xfd, 0x04], 3],
  "v128.load16_splat": [[0xfd, 0x08], 1],
  "v128.load32_splat": [[0xfd, 0x09], 2],
  "v128.store": [[0xfd, 0x0b], 4],
};
/** Stores of one lane: code, log2 of the alignment; the lane follows the address's offset. */
const laneStores: Readonly<Record<string, readonly [readonly number[], number]>> = {
  "v128.store8_lane": [[0xfd, 0x58], 0],
  "v128.store32_lane": [[0xfd, 0x5a], 2],
};
const lanes: Readonly<Record<string, readonly number[]>> = {
  "i32x4.extract_lane": [0xfd, 0x1b],
  "f32x4.extract_lane": [0xfd, 0x1f],
};

function unsigned(value: number): number[] {
  const bytes: number[] = [];
  let rest = value >>> 0;
  do {
    const low = rest & 0x7f;
    rest >>>= 7;
    bytes.push(rest === 0 ? low : low | 0x80);
  } while (rest !== 0);
  return bytes;
}
function signed(value: number): number[] {
  const bytes: number[] = [];
  for (let rest = value | 0; ; ) {
    const low = rest & 0x7f;
    rest >>= 7;
    if ((rest === 0 && (low & 0x40) === 0) || (rest === -1 && (low & 0x40) !== 0))
      return [...bytes, low];
    bytes.push(low | 0x80);
  }
}
const float = (value: number): number[] => [...new Uint8Array(new Float32Array([value]).buffer)];
const vector = (items: readonly (readonly number[])[]): number[] => [
  ...unsigned(items.length),
  ...items.flat(),
];
const name = (text: string): number[] =>
  vector([...Buffer.from(text.slice(1, -1))].map((byte) => [byte]));
const head = (node: Node): string => (typeof node === "string" ? node : String(node[0]));

class Body {
  readonly code: number[] = [];
  readonly #locals: ReadonlyMap<string, number>;
  readonly #functions: ReadonlyMap<string, number>;
  readonly #labels: string[] = [];

  constructor(locals: ReadonlyMap<string, number>, functions: ReadonlyMap<string, number>) {
    this.#locals = locals;
    this.#functions = functions;
  }

  all(nodes: readonly Node[]): void {
    for (let i = 0; i < nodes.length; ) {
      const node = nodes[i] as Node;
      if (typeof node === "string") i = this.#flat(nodes, i);
      else {
        this.#folded(node);
        i++;
      }
    }
  }

  #folded(node: readonly Node[]): void {
    const op = head(node);
    if (op === "block" || op === "loop" || op === "if") {
      const labelled = typeof node[1] === "string";
      const parts = node.slice(labelled ? 2 : 1);
      if (op === "if") {
        while (parts.length > 0 && head(parts[0] as Node) !== "then")
          this.all([parts.shift() as Node]);
        this.#enter(0x04, labelled ? (node[1] as string) : "");
        this.all((parts[0] as Node[]).slice(1));
        if (parts.length > 1) {
          this.code.push(0x05);
          this.all((parts[1] as Node[]).slice(1));
        }
      } else {
        this.#enter(op === "block" ? 0x02 : 0x03, labelled ? (node[1] as string) : "");
        this.all(parts);
      }
      this.#labels.pop();
      this.code.push(0x0b);
      return;
    }
    const immediates = node.slice(1).filter((part) => typeof part === "string");
    this.all(node.slice(1).filter((part) => typeof part !== "string"));
    this.#flat([op, ...immediates], 0);
  }

  #enter(code: number, label: string): void {
    this.#labels.push(label);
    this.code.push(code, 0x40);
  }

  /** One instruction with the immediates that follow it; returns where the next begins. */
  #flat(nodes: readonly Node[], at: number): number {
    const op = nodes[at] as string;
    const next = nodes[at + 1] as string;
    const known = plain[op];
    if (known !== undefined) {
      this.code.push(...known);
      return at + 1;
    }
    const access = memory[op];
    if (access !== undefined) {
      const offset = typeof next === "string" ? /^offset=(\d+)$/.exec(next) : null;
      this.code.push(...access[0], access[1], ...unsigned(Number(offset?.[1] ?? 0)));
      return at + (offset === null ? 1 : 2);
    }
    if (op === "i8x16.shuffle") {
      this.code.push(0xfd, 0x0d, ...nodes.slice(at + 1, at + 17).map(Number));
      return at + 17;
    }
    const lane = laneStores[op];
    if (lane !== undefined) {
      this.code.push(...lane[0], lane[1], 0, Number(next));
      return at + 2;
    }
    if (op.startsWith("local.")) {
      const index = this.#locals.get(next);
      if (index === undefined) throw new Error(`no local ${next}`);
      this.code.push(
        { "local.get": 0x20, "local.set": 0x21, "local.tee": 0x22 }[op] as number,
        ...unsigned(index),
      );
    } else if (op === "br" || op === "br_if") {
      const depth = this.#labels.length - 1 - this.#labels.lastIndexOf(next);
      if (!this.#labels.includes(next)) throw new Error(`no label ${next}`);
      this.code.push(op === "br" ? 0x0c : 0x0d, ...unsigned(depth));
    } else if (op === "call") {
      const index = this.#functions.get(next);
      if (index === undefined) throw new Error(`no function ${next}`);
      this.code.push(0x10, ...unsigned(index));
    } else if (op === "i32.const") this.code.push(0x41, ...signed(Number(next)));
    else if (op === "f32.const") this.code.push(0x43, ...float(Number(next)));
    else if (lanes[op] !== undefined) this.code.push(...lanes[op], Number(next));
    else throw new Error(`unknown instruction ${op}`);
    return at + 2;
  }
}

function section(id: number, bytes: readonly number[]): number[] {
  return [id, ...unsigned(bytes.length), ...bytes];
}

/** The bytes of a module. Throws on what this assembler does not know; WebAssembly.compile checks the types. */
export function assemble(text: string): Uint8Array<ArrayBuffer> {
  const [module] = parse(text);
  if (module === undefined || head(module) !== "module") throw new Error("not a module");
  const fields = (module as Node[]).slice(1) as Node[][];
  const imports = fields
    .filter((f) => head(f) === "import")
    .map((f) => {
      const [, least, most] = f[3] as string[];
      return [
        ...name(f[1] as string),
        ...name(f[2] as string),
        0x02,
        0x03,
        ...unsigned(Number(least)),
        ...unsigned(Number(most)),
      ];
    });
  const functions = fields.filter((f) => head(f) === "func");
  const index = new Map(functions.map((f, i) => [f[1] as string, i]));
  const signatures: number[][] = [];
  const exports: number[][] = [];
  const bodies = functions.map((f, i) => {
    const locals = new Map<string, number>();
    const params: number[] = [];
    const results: number[] = [];
    const own: number[] = [];
    const code: Node[] = [];
    for (const part of f.slice(2)) {
      const [kind, second, third] = part as string[];
      if (kind === "export") exports.push([...name(second as string), 0x00, ...unsigned(i)]);
      else if (kind === "result") results.push(types[second as string] as number);
      else if (kind === "param" || kind === "local") {
        if (locals.has(second as string)) throw new Error(`${second} twice`);
        locals.set(second as string, locals.size);
        (kind === "param" ? params : own).push(types[third as string] as number);
      } else code.push(part);
    }
    signatures.push([0x60, ...vector(params.map((t) => [t])), ...vector(results.map((t) => [t]))]);
    const body = new Body(locals, index);
    body.all(code);
    const bytes = [...vector(own.map((t) => [1, t])), ...body.code, 0x0b];
    return [...unsigned(bytes.length), ...bytes];
  });
  return new Uint8Array([
    0x00,
    0x61,
    0x73,
    0x6d,
    0x01,
    0x00,
    0x00,
    0x00,
    ...section(1, vector(signatures)),
    ...section(2, vector(imports)),
    ...section(3, vector(signatures.map((_, i) => unsigned(i)))),
    ...section(7, vector(exports)),
    ...section(10, vector(bodies)),
  ]);
}

/** The kernels of the repository: text and the module that holds its bytes. */
export const kernels = [
  ["packages/data/src/prep/kernels.wat", "packages/data/src/prep/kernel-bytes.ts"],
  ["packages/extreme/src/kernels/kernels.wat", "packages/extreme/src/kernels/bytes.ts"],
  ["packages/remat/src/kernels/kernels.wat", "packages/remat/src/kernels/bytes.ts"],
  ["packages/remat/src/kernels/planes.wat", "packages/remat/src/kernels/plane-bytes.ts"],
] as const;

/** The source text of the module that holds the bytes. */
export function bytesModule(wat: string, name = "kernels.wat"): string {
  const base64 = Buffer.from(assemble(wat)).toString("base64");
  const lines = base64.match(/.{1,90}/g) ?? [];
  return `/** ${name}, assembled by tools/wat.ts; a test keeps the two equal. */\nexport const kernelBytes = [\n${lines.map((line) => `  "${line}",\n`).join("")}].join("");\n`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const root = new URL("../", import.meta.url);
  for (const [wat, module] of kernels)
    writeFileSync(
      new URL(module, root),
      bytesModule(readFileSync(new URL(wat, root), "utf8"), wat.split("/").at(-1)),
    );
}
