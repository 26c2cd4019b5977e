/** Small data sets of every form, written from the forms' descriptions, for tests. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll } from "vitest";
import { crc32c, masked } from "./crc32c.ts";

const root = mkdtempSync(join(tmpdir(), "millrace-forms-"));
afterAll(() => rmSync(root, { recursive: true }));
let made = 0;

export function folder(): string {
  const path = join(root, String(made++));
  mkdirSync(path);
  return path;
}

export function file(name: string, content: Uint8Array | string): string {
  const path = join(folder(), name);
  writeFileSync(path, content);
  return path;
}

export function tar(members: readonly (readonly [string, string])[], type = "0"): Buffer {
  const blocks = members.flatMap(([name, text]) => {
    const header = Buffer.alloc(512);
    header.write(name, 0);
    header.write("0000644\0", 100);
    header.write(`${text.length.toString(8).padStart(11, "0")}\0`, 124);
    header.write("        ", 148);
    header.write(type, 156);
    header.write("ustar\0", 257);
    const sum = header.reduce((a, b) => a + b, 0);
    header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
    const content = Buffer.alloc(Math.ceil(text.length / 512) * 512);
    content.write(text, "latin1");
    return [header, content];
  });
  return Buffer.concat([...blocks, Buffer.alloc(1024)]);
}

export const record = (payload: string, label: number): Buffer => {
  const field = (tag: number, body: Buffer): Buffer =>
    Buffer.concat([Buffer.from([tag, body.length]), body]);
  const feature = (name: string, value: Buffer): Buffer =>
    field(10, Buffer.concat([field(10, Buffer.from(name)), field(18, value)]));
  return field(
    10,
    Buffer.concat([
      feature("image/encoded", field(10, field(10, Buffer.from(payload)))),
      feature("image/class/label", field(26, field(10, Buffer.from([label])))),
    ]),
  );
};

export function tfRecords(records: readonly Buffer[]): Buffer {
  return Buffer.concat(
    records.flatMap((content) => {
      const header = Buffer.alloc(12);
      header.writeBigUInt64LE(BigInt(content.length));
      header.writeUInt32LE(masked(crc32c(header.subarray(0, 8))), 8);
      const end = Buffer.alloc(4);
      end.writeUInt32LE(masked(crc32c(content)));
      return [header, content, end];
    }),
  );
}

export function mds(
  dir: string,
  samples: readonly (readonly [string, number])[],
  change: object = {},
): string {
  const bodies = samples.map(([payload, label]) => {
    const body = Buffer.alloc(4 + 8 + payload.length);
    body.writeUInt32LE(payload.length, 0);
    body.writeBigInt64LE(BigInt(label), 4);
    body.write(payload, 12);
    return body;
  });
  const head = Buffer.alloc(4 + 4 * (samples.length + 1));
  head.writeUInt32LE(samples.length);
  let at = head.length;
  bodies.forEach((body, i) => {
    head.writeUInt32LE(at, 4 + 4 * i);
    at += body.length;
  });
  head.writeUInt32LE(at, 4 + 4 * samples.length);
  writeFileSync(join(dir, "shard.00000.mds"), Buffer.concat([head, ...bodies]));
  const shard = {
    format: "mds",
    column_names: ["class", "image"],
    column_encodings: ["int", "bytes"],
    column_sizes: [8, null],
    samples: samples.length,
    compression: null,
    raw_data: { basename: "shard.00000.mds", bytes: at },
    ...change,
  };
  writeFileSync(join(dir, "index.json"), JSON.stringify({ version: 2, shards: [shard] }));
  return dir;
}

/** A frame of zstd with one block that is stored as it is. */
export function zstdFrame(content: Buffer): Buffer {
  const head = Buffer.alloc(12);
  head.writeUInt32LE(0xfd2fb528);
  // A single segment, whose size takes four bytes.
  head.writeUInt8(0xa0, 4);
  head.writeUInt32LE(content.length, 5);
  head.writeUIntLE(1 | (content.length << 3), 9, 3);
  return Buffer.concat([head, content]);
}

export const three: [string, number][] = [
  ["first", 3],
  ["the second", 1],
  ["3rd", 2],
];
