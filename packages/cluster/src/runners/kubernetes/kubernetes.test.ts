import { Rng } from "@millrace/core";
import { afterEach, describe, expect, test } from "vitest";
import { runnerConformance, settled } from "../runner.conformance.ts";
import type { Observed } from "../runner.ts";
import type { FakeCluster } from "./fake/cluster.conformance.ts";
import type { KubernetesOptions, KubernetesRunner } from "./index.ts";
import { GB, openRunner, rigOf, sliceOn, testJob, twoNodes } from "./rig.conformance.ts";

runnerConformance("Kubernetes 1.36 (fake API server)", () =>
  rigOf({ mutableResources: true, resize: true }),
);
runnerConformance("Kubernetes 1.32, where Jobs are fixed (fake API server)", () =>
  rigOf({ mutableResources: false, resize: false }),
);

describe("on a fake cluster", () => {
  let cluster: FakeCluster;
  const runners: KubernetesRunner[] = [];
  const begin = async (over: Partial<KubernetesOptions> = {}): Promise<KubernetesRunner> => {
    cluster = await twoNodes();
    return await another(1, over);
  };
  const another = async (
    fence: number,
    over: Partial<KubernetesOptions> = {},
  ): Promise<KubernetesRunner> => {
    const runner = await openRunner(cluster, over);
    runners.push(runner);
    await runner.takeOver(fence);
    return runner;
  };
  afterEach(async () => {
    for (const runner of runners.splice(0)) await runner[Symbol.asyncDispose]();
    await cluster[Symbol.asyncDispose]();
  });
  const until = async (
    runner: KubernetesRunner,
    id: string,
    wanted: (job: Observed) => boolean,
  ): Promise<Observed> => {
    const found = (jobs: readonly Observed[]) => jobs.find((job) => job.id === id && wanted(job));
    return found(await settled(runner, (jobs) => found(jobs) !== undefined)) as Observed;
  };
  const run = async (runner: KubernetesRunner, id: string, attempt: number, cpus = 2) => {
    await runner.start({ id, attempt, slices: [sliceOn("gpu-1", 1, cpus, 2 * GB)] });
    return await until(runner, id, (job) => job.phase === "running" && job.attempt === attempt);
  };

  test("one Job lives through stops and starts: patched, not made anew", async () => {
    const runner = await begin();
    await runner.submit(testJob(cluster.folder, "again", "stays"));
    const [made] = cluster.store.list("jobs");
    for (const attempt of [1, 2, 3]) {
      await run(runner, "again", attempt, attempt);
      const [pod] = cluster.store.list("pods");
      expect(pod?.spec.containers[0].resources.limits.cpu).toBe(`${attempt * 1000}m`);
      expect(pod?.metadata.labels?.["millrace.dev/attempt"]).toBe(String(attempt));
      await runner.stop("again", attempt);
      await until(runner, "again", (job) => job.phase === "ended");
    }
    const jobs = cluster.store.list("jobs");
    expect(jobs.map(({ metadata }) => metadata.uid)).toEqual([made?.metadata.uid]);
    expect(cluster.starts("again")).toBe(3);
  });

  test("a job that ended by itself starts again as a Job of its own", async () => {
    const runner = await begin();
    await runner.submit(testJob(cluster.folder, "fails", "fails"));
    for (const attempt of [1, 2, 3]) {
      await runner.start({ id: "fails", attempt, slices: [sliceOn("gpu-2", 1, 1, GB)] });
      const seen = await until(
        runner,
        "fails",
        (job) => job.attempt === attempt && job.phase === "ended",
      );
      expect(seen.outcome).toEqual({ kind: "exited", code: 3 });
    }
    expect(cluster.starts("fails")).toBe(3);
    await runner.remove("fails");
    await settled(runner, (jobs) => jobs.length === 0);
    expect(cluster.store.list("pods")).toEqual([]);
  });

  test("a job that ends well at the very moment it is stopped is not taken for done in its next attempt", async () => {
    const runner = await begin();
    await runner.submit(testJob(cluster.folder, "crossed", "ends"));
    // Suspended after its pod has succeeded and before the controller has counted that: the Job completes all the same.
    const { store } = cluster;
    const forget = store.watch(null, () => {
      const over = store.list("pods").some(({ status }) => status.phase === "Succeeded");
      const [job] = store.list("jobs");
      if (!over || job === undefined || job.spec.suspend === true) return;
      store.update("jobs", { ...job, spec: { ...job.spec, suspend: true } });
    });
    await runner.start({ id: "crossed", attempt: 1, slices: [sliceOn("gpu-1", 1, 1, GB)] });
    const first = await until(runner, "crossed", (job) => job.phase === "ended");
    expect(first.outcome).toEqual({ kind: "exited", code: 0 });
    forget();
    await runner.start({ id: "crossed", attempt: 2, slices: [sliceOn("gpu-2", 1, 1, GB)] });
    await until(runner, "crossed", (job) => job.attempt === 2 && job.phase === "ended");
    expect(cluster.starts("crossed")).toBe(2);
  });

  test("conflicts, errors, answers that are lost or do not come: tried again, done once", async () => {
    const runner = await begin({ times: { requestMs: 150, callMs: 5000, backoffMs: 5 } });
    const { faults } = cluster.server;
    const jobs = /\/jobs/;
    faults.push({ method: "POST", path: jobs, how: "lost", times: 1 });
    faults.push({ method: "POST", path: jobs, how: 500, times: 2 });
    await runner.submit(testJob(cluster.folder, "hard", "stays"));
    expect(cluster.store.list("jobs")).toHaveLength(1);
    faults.push({ method: "PATCH", path: jobs, how: 409, times: 3 });
    faults.push({ method: "PATCH", path: jobs, how: "lost", times: 1 });
    faults.push({ method: "GET", path: jobs, how: "hang", times: 1 });
    faults.push({ method: "GET", path: jobs, how: 429, times: 1 });
    faults.push({ method: "GET", path: /\/pods/, how: 410, times: 1 });
    await run(runner, "hard", 1);
    faults.push({ method: "PATCH", path: jobs, how: "drop", times: 2 });
    faults.push({ method: "PATCH", path: jobs, how: 503, times: 2 });
    await runner.stop("hard", 1);
    await until(runner, "hard", (job) => job.phase === "ended");
    expect(cluster.starts("hard")).toBe(1);
    expect(faults.every(({ times }) => times === 0)).toBe(true);
  });

  test("what does not pass is reported with the job and the server's words, and nothing is lost", async () => {
    const runner = await begin({ times: { requestMs: 100, callMs: 300, backoffMs: 5 } });
    await runner.submit(testJob(cluster.folder, "waits", "stays"));
    const order = { id: "waits", attempt: 1, slices: [sliceOn("gpu-1", 1, 1, GB)] };
    const fault = { method: "PATCH", path: /\/jobs/, how: 500, times: 1e6 } as const;
    cluster.server.faults.push({ ...fault });
    await expect(runner.start(order)).rejects.toMatchObject({
      code: "RUNNER_FAILED",
      message: "starting job waits: Kubernetes said 500 InternalError as the test wants it",
    });
    cluster.server.faults.length = 0;
    cluster.server.faults.push({ path: /./, how: "hang", times: 1e6 });
    await expect(runner.observe()).rejects.toMatchObject({ code: "RUNNER_FAILED" });
    cluster.server.faults.length = 0;
    cluster.server.faults.push({ path: /configmaps/, how: 403, times: 1 });
    await expect(runner.start(order)).rejects.toMatchObject({
      hint: expect.stringMatching(/the account needs jobs/),
    });
    await runner.start(order);
    await until(runner, "waits", (job) => job.phase === "running");
    await expect(runner.start({ ...order, attempt: 2 })).rejects.toThrow(/is running in attempt 1/);
    await expect(runner.start({ ...order, id: "stranger" })).rejects.toThrow(
      /knows no job stranger/,
    );
  });

  test("watches that end or expire are opened again; news gets through", async () => {
    const runner = await begin();
    await runner.submit(testJob(cluster.folder, "ends", "ends"));
    await expect.poll(() => cluster.server.watches).toBe(3);
    cluster.server.endStreams();
    cluster.store.compact();
    cluster.server.faults.push({ path: /\/jobs/, how: 410, times: 1 });
    await runner.start({ id: "ends", attempt: 1, slices: [sliceOn("gpu-1", 1, 1, GB)] });
    await until(runner, "ends", (job) => job.phase === "ended");
    await expect.poll(() => cluster.server.watches).toBe(3);
  });

  test("fields that Kubernetes does not know and names that it does not allow are refused by name", async () => {
    const spec = { dnsPolicy: "Default", imagePullSecret: "typing error" };
    const runner = await begin({ podTemplate: { spec } });
    const job = testJob(cluster.folder, "job", "ends");
    await expect(runner.submit(job)).rejects.toThrow(
      /unknown field "spec.template.spec.imagePullSecret"/,
    );
    const plain = await another(2);
    await expect(plain.submit({ ...job, id: "-bad-" })).rejects.toThrow(/-bad-.*a DNS label/);
    await expect(plain.submit({ ...job, image: null })).rejects.toThrow(/names no container image/);
  });

  test("the pod template brings volumes and a first container, the job its command and user", async () => {
    const spec = {
      serviceAccountName: "trainer",
      volumes: [{ name: "data", hostPath: { path: "/data" } }],
      containers: [
        {
          name: "train",
          image: "registry.example/base:1",
          env: [{ name: "A", value: "1" }],
          volumeMounts: [{ name: "data", mountPath: "/data" }],
        },
      ],
    };
    const runner = await begin({ podTemplate: { spec } });
    await runner.submit({
      ...testJob(cluster.folder, "job", "ends"),
      image: null,
      environment: { B: "2" },
      user: { name: "ana", uid: 1007, gid: 1008 },
    });
    const pod = cluster.store.list("jobs")[0]?.spec.template.spec;
    expect(pod).toMatchObject({ ...spec, containers: [{ name: "train", volumeMounts: [{}] }] });
    expect(pod.securityContext).toEqual({ runAsUser: 1007, runAsGroup: 1008, runAsNonRoot: true });
    const names = pod.containers[0].env.map(({ name }: { name: string }) => name);
    expect(names).toEqual(["A", "MILLRACE_ATTEMPT", "MILLRACE_CPUS", "OMP_NUM_THREADS", "B"]);
  });

  test("an image that cannot be had ends the attempt with the reason; the next one may run", async () => {
    const runner = await begin();
    const job = testJob(cluster.folder, "job", "stays");
    await runner.submit({ ...job, image: "registry.example/not-there:1" });
    await runner.start({ id: "job", attempt: 1, slices: [sliceOn("gpu-1", 1, 1, GB)] });
    const seen = await until(runner, "job", ({ phase }) => phase === "ended");
    expect(seen.outcome).toEqual({
      kind: "not-started",
      reason: expect.stringMatching(/^ImagePullBackOff: .*not-there/),
    });
    expect(seen.held).toEqual([]);
    await runner.start({ id: "job", attempt: 2, slices: [sliceOn("gpu-1", 1, 1, GB)] });
    await until(runner, "job", ({ attempt, phase }) => attempt === 2 && phase === "ended");
  });

  test("in place: what never fits is refused and taken back, what does not fit now comes later", async () => {
    const runner = await begin();
    for (const id of ["small", "large"]) await runner.submit(testJob(cluster.folder, id, "stays"));
    await run(runner, "small", 1, 2);
    await run(runner, "large", 1, 5);
    const size = (id: string, cpus: number) =>
      runner.resize({ id, attempt: 1, slices: [sliceOn("gpu-1", 1, cpus, 2 * GB)] });
    expect(await size("small", 9)).toBe("refused");
    const [pod] = cluster.store.list("pods");
    expect(pod?.spec.containers[0].resources.limits.cpu).toBe("2000m");
    expect(await size("small", 4)).toBe("later");
    const held = async (id: string) =>
      (await runner.observe()).find((job) => job.id === id)?.held[0]?.cpus;
    expect(await held("small")).toBe(2);
    expect(await size("large", 3)).toBe("done");
    await until(runner, "small", (job) => job.held[0]?.cpus === 4);
    expect(await size("gone", 3).catch((error) => error.code)).toBe("RUNNER_FAILED");
    expect(cluster.starts("small") + cluster.starts("large")).toBe(2);
  });

  test("servers are what others leave: foreign pods, closed and lost nodes", async () => {
    const runner = await begin();
    cluster.addNode("cpu-only", { gpus: 0, cpus: 64, memory: "64Gi" });
    const taint = (key: string) => ({ key, effect: "NoSchedule" });
    cluster.changeNode("gpu-1", ({ spec }) => spec.taints.push(taint("nvidia.com/gpu")));
    cluster.changeNode("gpu-2", ({ spec }) => spec.taints.push(taint("maintenance")));
    cluster.store.create("pods", {
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name: "logs", namespace: "kube-system" },
      spec: {
        nodeName: "gpu-1",
        containers: [{ name: "c", resources: { requests: { cpu: "250m", memory: "1Gi" } } }],
        initContainers: [{ name: "i", resources: { requests: { cpu: "1", memory: "1Mi" } } }],
      },
      status: { phase: "Running", conditions: [] },
    });
    expect(await runner.servers()).toMatchObject([
      { name: "gpu-1", gpus: 4, cpus: 7, hostBytes: 15 * 2 ** 30, condition: "up" },
      { name: "gpu-2", gpus: 4, cpus: 8, condition: "draining" },
    ]);
    cluster.loseNode("gpu-1");
    expect((await runner.servers())[0]?.condition).toBe("down");
  });

  test("no order of an old scheduler gets through, whatever it is for", async () => {
    const old = await begin();
    const runner = await another(2);
    await expect(old.submit(testJob(cluster.folder, "late", "stays"))).rejects.toMatchObject({
      code: "SCHEDULER_FENCED",
    });
    await runner.submit(testJob(cluster.folder, "job", "stays"));
    await run(runner, "job", 1);
    await another(3);
    for (const order of [
      () => runner.stop("job", 1),
      () => runner.remove("job"),
      () => runner.resize({ id: "job", attempt: 1, slices: [sliceOn("gpu-1", 1, 1, GB)] }),
    ])
      await expect(order()).rejects.toMatchObject({ code: "SCHEDULER_FENCED" });
  });

  test.each([1, 2, 3])(
    "whatever fails on the way (seed %i), no attempt runs twice and none is lost",
    async (seed) => {
      const runner = await begin({ times: { requestMs: 100, callMs: 20_000, backoffMs: 2 } });
      const rng = new Rng(seed);
      const faults = ["hang", "drop", "lost", 409, 410, 429, 500, 503] as const;
      const trouble = (): void => {
        for (let n = rng.int(0, 2); n > 0; n--) {
          const how = faults[rng.int(0, faults.length - 1)] ?? 500;
          cluster.server.faults.push({ path: /jobs|pods|configmaps/, how, times: 1 });
        }
      };
      /** As the run loop does it: what failed is ordered again after looking. */
      const insist = async (order: () => Promise<unknown>): Promise<void> => {
        for (;;) {
          trouble();
          const failed = await order().then(
            () => false,
            (error: { readonly code?: string }) => {
              expect(error.code).toBe("RUNNER_FAILED");
              return true;
            },
          );
          if (!failed) return;
        }
      };
      const watched = async (id: string, wanted: (job: Observed | undefined) => boolean) => {
        const never = new AbortController();
        for (;;) {
          const jobs = await runner.observe().catch(() => null);
          if (jobs !== null && wanted(jobs.find((job) => job.id === id))) return;
          await runner.changed(never.signal);
        }
      };
      const job = testJob(cluster.folder, "tough", "stays");
      await insist(() => runner.submit(job));
      for (const attempt of [1, 2, 3]) {
        const slices = [sliceOn(rng.next() < 0.5 ? "gpu-1" : "gpu-2", 1, rng.int(1, 8), GB)];
        await insist(() => runner.start({ id: "tough", attempt, slices }));
        await watched("tough", (seen) => seen?.phase === "running");
        expect(cluster.starts("tough")).toBe(attempt);
        await insist(() => runner.stop("tough", attempt));
        await watched("tough", (seen) => seen?.phase === "ended");
      }
      await insist(() => runner.remove("tough"));
      await watched("tough", (seen) => seen === undefined);
      expect(cluster.starts("tough")).toBe(3);
      expect(cluster.store.list("jobs")).toEqual([]);
    },
  );
});
