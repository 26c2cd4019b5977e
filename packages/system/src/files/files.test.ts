import {
  chmodSync,
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { adviseFile } from "./advice.ts";
import { FileLock } from "./file-lock.ts";
import { peerOf } from "./peer.ts";
import {
  allocateShared,
  createShared,
  mapShared,
  privateFolder,
  sharedFolder,
  sharedRoom,
} from "./shared-file.ts";

const folder = mkdtempSync(join(sharedFolder(), "test-"));
afterAll(() => rmSync(folder, { recursive: true }));

test("a shared file is exclusive, ours alone, and seen by every mapping", () => {
  const path = join(folder, "a");
  createShared(path, 8192);
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(() => createShared(path, 8192)).toThrow(/EEXIST/);
  using one = mapShared(path, 8192);
  using two = mapShared(path, 4096);
  new Uint8Array(one.buffer)[5] = 7;
  expect(new Uint8Array(two.buffer)[5]).toBe(7);
  allocateShared(path, 16384);
  expect(statSync(path).size).toBe(16384);
  expect(() => mapShared(path, 16385)).toThrow(/16384 of 16385/);
});

test("memory that is not there is refused before it is touched", () => {
  const path = join(folder, "huge");
  expect(() => createShared(path, sharedRoom(folder) + 2 ** 30)).toThrow(
    /bytes of shared memory and \d+ are free/,
  );
  expect(existsSync(path)).toBe(false);
});

test("a folder of others is refused", () => {
  const open = join(folder, "open");
  mkdirSync(open);
  chmodSync(open, 0o755);
  expect(() => privateFolder(open)).toThrow(/not a folder of this user alone \(mode 755/);
});

test("locks exclude each other and end with their holder", async () => {
  const path = join(folder, "lock");
  using first = new FileLock(path);
  expect(first.try("exclusive")).toBe(true);
  {
    using second = new FileLock(path);
    expect(second.try("shared")).toBe(false);
    first.unlock();
    expect(second.try("shared")).toBe(true);
    expect(first.try("shared")).toBe(true);
    expect(second.try("exclusive")).toBe(false);
  }
  await first.wait("exclusive");
  expect(first.try("exclusive")).toBe(true);
});

test("the kernel names the peer of a unix socket", async () => {
  const path = join(folder, "socket");
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(path, resolve));
  const accepted = new Promise<Socket>((resolve) => server.once("connection", resolve));
  const client = connect(path);
  const socket = await accepted;
  expect(peerOf(socket)).toMatchObject({ pid: process.pid, uid: process.getuid?.() });
  client.destroy();
  socket.destroy();
  server.close();
});

test("advice reaches the kernel", () => {
  const path = join(folder, "advised");
  writeFileSync(path, "x".repeat(8192));
  const fd = openSync(path, "r");
  adviseFile(fd, 0, 0, "dont-need");
  closeSync(fd);
  expect(() => adviseFile(fd, 0, 0, "random")).toThrow(/posix_fadvise\(random.*EBADF/);
});
