import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, expect, test } from "vitest";
import type { Grant, StepReport } from "../../job/lease.ts";
import { openLease } from "./lease-client.ts";
import { LeaseServer, type LeaseServerOptions } from "./lease-server.ts";

const dir = mkdtempSync(join(tmpdir(), "millrace-lease-"));
afterAll(() => rmSync(dir, { recursive: true }));

const grant: Grant = { cpus: 1.5, hostBytes: 2e9, cacheBytes: 1e9, gpus: [0, 2] };
const fast = { reportSeconds: 0.001, retrySeconds: 0.001 };
let sockets = 0;

/** A queue that a test can wait on. */
function queue<T>() {
  const items: T[] = [];
  let wake: (() => void) | null = null;
  return {
    push(item: T): void {
      items.push(item);
      wake?.();
    },
    async next(): Promise<T> {
      while (items.length === 0)
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      return items.shift() as T;
    },
  };
}

async function serve(more: Partial<LeaseServerOptions> = {}) {
  const socket = more.socket ?? join(dir, `s${sockets++}`);
  const reports = queue<{ job: string } & StepReport>();
  const connected = queue<string>();
  const checkpoints: string[] = [];
  const server = await LeaseServer.listen({
    socket,
    admit: (token) => (token.startsWith("token-") ? { job: token.slice(6), uid: null } : null),
    report: (job, report) => reports.push({ job, ...report }),
    connected: (job) => connected.push(job),
    checkpointed: async (job, step, folder) => {
      checkpoints.push(`${job} ${step} ${folder}`);
    },
    ...more,
  });
  const environment = (token: string) => ({ MILLRACE_LEASE: socket, MILLRACE_LEASE_TOKEN: token });
  const open = async (job: string) => {
    const lease = await openLease({ environment: environment(`token-${job}`), ...fast });
    if (lease === null) throw new Error("no lease");
    return lease;
  };
  return { server, socket, reports, connected, checkpoints, environment, open };
}

test("without the variable a job stands alone; without the token it is told", async () => {
  expect(await openLease({ environment: {} })).toBe(null);
  await expect(openLease({ environment: { MILLRACE_LEASE: "x" } })).rejects.toMatchObject({
    code: "LEASE_REFUSED",
  });
});

test("a job gets its grant, reports sums, has its checkpoint acknowledged and is asked to stop", async () => {
  const { server, socket, reports, checkpoints, open } = await serve();
  await using _ = server;
  expect(statSync(socket).mode & 0o777).toBe(0o600);
  server.grant("a", grant);
  await using lease = await open("a");
  expect(lease.grant()).toEqual(grant);
  expect(server.isConnected("a")).toBe(true);
  lease.report(1, 0.5, 0.25, 32);
  lease.report(2, 0.5, 0.25, 32);
  expect(await reports.next()).toEqual({
    job: "a",
    step: 2,
    computeSeconds: 1,
    waitSeconds: 0.5,
    samples: 64,
  });
  lease.report(3, 0.5, 0, 32);
  // The report is on its way before the checkpoint that it belongs to.
  await lease.checkpointed(3, "/checkpoints/3");
  expect(await reports.next()).toMatchObject({ step: 3, samples: 32 });
  expect(checkpoints).toEqual(["a 3 /checkpoints/3"]);
  expect(lease.stop.aborted).toBe(false);
  expect(server.askToStop("a", "another job needs the GPU")).toBe(true);
  await once(lease.stop, "abort");
  expect(lease.stop.reason).toBe("another job needs the GPU");
  expect(server.askToStop("b", "nobody hears it")).toBe(false);
});

test("a grant that changes reaches the job; released, the next start begins anew", async () => {
  const { server, open } = await serve();
  await using _ = server;
  server.grant("a", grant);
  const lease = await open("a");
  server.askToStop("a", "move");
  await once(lease.stop, "abort");
  server.release("a");
  await lease[Symbol.asyncDispose]();
  const more = { ...grant, cpus: 4 };
  server.grant("a", more);
  await using next = await open("a");
  expect(next.stop.aborted).toBe(false);
  expect(next.grant()).toEqual(more);
});

test("a checkpoint outlives the scheduler: the next one acknowledges it", async () => {
  const first = await serve({ checkpointed: () => new Promise(() => {}) });
  first.server.grant("a", grant);
  const lease = await first.open("a");
  const acknowledged = lease.checkpointed(7, "/c");
  lease.report(8, 1, 1, 1);
  await first.reports.next();
  await first.server[Symbol.asyncDispose]();
  const second = await serve({ socket: first.socket });
  await using _ = second.server;
  second.server.grant("a", grant);
  await acknowledged;
  expect(second.checkpoints).toEqual(["a 7 /c"]);
  await lease[Symbol.asyncDispose]();
});

test("a checkpoint that cannot be written down is not acknowledged", async () => {
  const { server, open } = await serve({
    checkpointed: () => Promise.reject(new Error("disk full")),
  });
  await using _ = server;
  server.grant("a", grant);
  await using lease = await open("a");
  await expect(lease.checkpointed(1, "/c")).rejects.toMatchObject({ code: "LEASE_REFUSED" });
});

test("strangers, other users and nonsense are refused, and nobody else is harmed", async () => {
  const { server, socket, environment, reports, open } = await serve({
    admit: (token) =>
      token === "token-a" ? { job: "a", uid: null } : token === "b" ? { job: "b", uid: 77 } : null,
    peer: () => ({ pid: 4, uid: 78 }),
  });
  await using _ = server;
  server.grant("a", grant);
  await using lease = await open("a");
  for (const token of ["guessed", "b"])
    await expect(openLease({ environment: environment(token), ...fast })).rejects.toThrow(
      /nobody's, or another user's/,
    );
  for (const text of [
    "nonsense\n",
    '{"kind":"report","step":1,"computeSeconds":1,"waitSeconds":1,"samples":1}\n',
    '{"kind":"hello","token":"token-a","pid":1}\n{"kind":"report","step":-1,"computeSeconds":1e999,"waitSeconds":0,"samples":0}\n',
    `${"x".repeat(20_000)}`,
  ]) {
    const rude = connect(socket);
    const said: string[] = [];
    rude.setEncoding("utf8").on("data", (chunk: string) => said.push(chunk));
    rude.write(text);
    await once(rude, "close");
    expect(said.join("")).toMatch(/"refused"/);
  }
  // One of them held the token: the job's own connection was replaced, and it comes back by itself. A report that was
  // on its way meanwhile may be lost, a checkpoint is not.
  await lease.checkpointed(1, "/c");
  lease.report(1, 1, 0, 1);
  expect(await reports.next()).toMatchObject({ job: "a", step: 1 });
});

test("a socket that cannot be is named", async () => {
  await expect(serve({ socket: join(dir, "x".repeat(120)) })).rejects.toThrow(/too long/);
  await expect(serve({ socket: join(dir, "no/such/folder") })).rejects.toMatchObject({
    code: "ENVIRONMENT_MISSING",
  });
});

const python = "/usr/bin/python3";

test.runIf(existsSync(python))(
  "a Python program takes its lease with the module of this repository",
  async () => {
    const { server, socket, reports, checkpoints } = await serve();
    await using _ = server;
    server.grant("py", grant);
    const code = `
import os, millrace_lease
lease = millrace_lease.take()
assert lease.grant["gpus"] == [0, 2], lease.grant
lease.report(1, 0.5, 0.25, 8)
lease.report(2, 0.5, 0.25, 8)
assert lease.checkpointed(2, "/c")
import time
while not lease.stopping: time.sleep(0.01)
print(lease.reason)
lease.close()
os.environ["MILLRACE_LEASE_TOKEN"] = "guessed"
try: millrace_lease.take()
except millrace_lease.LeaseRefused: print("refused")
del os.environ["MILLRACE_LEASE"]
assert millrace_lease.take() is None
`;
    const folder = fileURLToPath(new URL("../../../../../python", import.meta.url));
    const child = spawn(python, ["-c", code], {
      env: {
        ...process.env,
        PYTHONPATH: folder,
        PYTHONDONTWRITEBYTECODE: "1",
        MILLRACE_LEASE: socket,
        MILLRACE_LEASE_TOKEN: "token-py",
      },
      stdio: ["ignore", "pipe", "inherit"],
    });
    let said = "";
    child.stdout.on("data", (chunk: Buffer) => {
      said += chunk;
    });
    expect(await reports.next()).toMatchObject({ job: "py", step: 1, samples: 8 });
    expect(await reports.next()).toMatchObject({ job: "py", step: 2, samples: 8 });
    server.askToStop("py", "others go first");
    expect(await once(child, "exit")).toEqual([0, null]);
    expect(said).toBe("others go first\nrefused\n");
    expect(checkpoints).toEqual(["py 2 /c"]);
  },
);
