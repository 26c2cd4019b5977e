/** `extreme train` under the lease of a real lease server: what it reports, that it stops when asked, and that it goes on. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { StepReport } from "@millrace/core/job";
import { LeaseServer } from "@millrace/core/node";
import { afterAll, expect, test } from "vitest";
import { millrace } from "../../testing.conformance.ts";

const folder = mkdtempSync(join(tmpdir(), "extreme-lease-"));
afterAll(() => rmSync(folder, { recursive: true }));

test("training reports points and snapshots, ends when it is asked to, and goes on with what is left", async () => {
  const data = folder;
  const rows = Array.from({ length: 400 }, (_, i) => i % 4);
  writeFileSync(join(data, "trn_X.txt"), rows.map((l) => `word${l} thing\n`).join(""));
  writeFileSync(join(data, "trn_X_Y.txt"), `400 4\n${rows.map((l) => `${l}:1\n`).join("")}`);
  const reports: StepReport[] = [];
  const saved: number[] = [];
  let stopAt = 1;
  const socket = join(folder, "lease");
  await using server = await LeaseServer.listen({
    socket,
    admit: (token) => (token === "secret" ? { job: "job", uid: null } : null),
    report: (_, report) => reports.push(report),
    checkpointed: async (_, step) => {
      if (saved.push(step) === stopAt) server.askToStop("job", "another needs the place");
    },
  });
  server.grant("job", { cpus: 1, hostBytes: 1e9, cacheBytes: 0, gpus: [] });
  process.env["MILLRACE_LEASE"] = socket;
  process.env["MILLRACE_LEASE_TOKEN"] = "secret";
  try {
    const epochs = 30;
    const train = () =>
      millrace(
        ...["extreme", "train", "-d", data, "-o", join(folder, "model"), "--resume", "--json"],
        ...["--epochs", String(epochs), "--refresh-every", "1", "--dim", "16"],
      );
    const stopped = await train();
    expect(stopped.exit).toBe(130);
    expect(stopped.out + stopped.err).toContain("another needs the place");
    expect(saved[0]).toBe(2);
    server.release("job");
    server.grant("job", { cpus: 1, hostBytes: 1e9, cacheBytes: 0, gpus: [] });
    stopAt = 0;
    reports.length = 0;
    saved.length = 0;
    const { exit, out } = await train();
    expect(exit).toBe(0);
    const { resumedFrom } = JSON.parse(out);
    expect(resumedFrom).toBeGreaterThan(0);
    expect(resumedFrom).toBeLessThan(epochs);
    // Two steps of 256 points an epoch.
    expect(saved.at(-1)).toBe(2 * epochs);
    expect(reports.at(-1)?.step).toBe(2 * epochs);
    expect(reports.reduce((sum, r) => sum + r.samples, 0)).toBe(400 * (epochs - resumedFrom));
  } finally {
    delete process.env["MILLRACE_LEASE"];
    delete process.env["MILLRACE_LEASE_TOKEN"];
  }
});
