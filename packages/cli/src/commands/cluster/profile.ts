/** `millrace cluster profile`: a real command at several CPU counts, and what that says about more or fewer of them. */
import { cpus as cpuList, totalmem } from "node:os";
import {
  type CommandSpec as Command,
  measureCommand,
  measureCurve,
  offeredBound,
  optimisticProfile,
} from "@millrace/cluster/measure";
import { formatNumber, MillraceError, parseBytes } from "@millrace/core";
import { writeJobProfile } from "@millrace/data";
import type { Session } from "../../session.ts";
import { table } from "../../ui/table.ts";

interface ProfileFlags {
  readonly name?: string;
  readonly gpus?: number;
  readonly cpus?: number;
  readonly samples?: number;
  readonly progress?: string;
  readonly seconds?: number;
  readonly hostMemory?: string;
  readonly samplesPerEpoch?: number;
  readonly sampleSize?: string;
  readonly storageRate?: string;
  readonly cacheRate?: string;
  readonly bound?: Command["bound"];
  readonly out?: string;
}

export async function clusterProfileCommand(
  session: Session,
  argv: readonly string[],
  given: Readonly<Record<string, unknown>>,
): Promise<number> {
  const flags = given as ProfileFlags;
  const [program, ...args] = argv;
  if (program === undefined)
    throw new MillraceError("USAGE", "no command is named", {
      hint: "millrace cluster profile --samples 1000 -- python train.py --epochs 1",
    });
  const { gpus = 1, cpus = cpuList().length, bound = offeredBound() } = flags;
  const count = countOf(flags);
  const storage = storageOf(flags);
  const progress = session.progress();
  const measured: { cpus: number; rate: number }[] = [];
  const points = await session.interruptible((signal) =>
    measureCurve(
      async (n) => {
        progress.update({ phase: "running", done: measured.length, total: 0, note: `${n} CPUs` });
        const rate = await measureCommand({ argv: [program, ...args], bound, count, signal }, n);
        measured.push({ cpus: n, rate });
        return rate;
      },
      { cpus, gpus },
    ),
  );
  progress.end();
  const profile = optimisticProfile({
    name: flags.name ?? program.split("/").at(-1) ?? program,
    gpus,
    points,
    storage,
    hostBytes: flags.hostMemory === undefined ? 0 : parseBytes(flags.hostMemory, "--host-memory"),
    machine: {
      cpu: cpuList()[0]?.model ?? "unknown",
      cores: cpuList().length,
      hostMemoryBytes: totalmem(),
      storage: storage === null ? "not measured" : `${storage.storageBytesPerSecond} B/s as given`,
      accelerator: "as the command uses",
    },
    date: new Date().toISOString(),
  });
  if (flags.out !== undefined) {
    writeJobProfile(flags.out, profile);
    session.note(`wrote ${flags.out}`);
  }
  if (session.json) session.printJson(profile);
  else {
    const best = Math.max(...points.map((point) => point.samplesPerSecond));
    session.print(
      table(
        [
          { title: "CPUs", align: "right" },
          { title: "samples/s", align: "right" },
          { title: "of the best", align: "right" },
        ],
        points.map((point) => [
          formatNumber(point.cpus),
          formatNumber(point.samplesPerSecond),
          `${formatNumber((100 * point.samplesPerSecond) / best)} %`,
        ]),
        session,
      ),
    );
    session.note(`CPUs bounded by ${bound === "cgroup" ? "a cgroup's quota" : "taskset"}`);
  }
  return 0;
}

function countOf({ samples, progress, seconds = 20 }: ProfileFlags): Command["count"] {
  if (samples !== undefined && progress === undefined) return { samples };
  if (progress === undefined || samples !== undefined)
    throw new MillraceError("USAGE", "say how samples are counted, in one way", {
      hint: "--samples N for a command that ends, or --progress 'samples (\\d+)' for one that prints its count",
    });
  try {
    return { pattern: new RegExp(progress), seconds };
  } catch (error) {
    throw new MillraceError("USAGE", `--progress: ${(error as Error).message}`);
  }
}

function storageOf(flags: ProfileFlags) {
  const { samplesPerEpoch, sampleSize, storageRate } = flags;
  if (samplesPerEpoch === undefined && sampleSize === undefined && storageRate === undefined)
    return null;
  if (samplesPerEpoch === undefined || sampleSize === undefined || storageRate === undefined)
    throw new MillraceError(
      "USAGE",
      "how memory matters needs --samples-per-epoch, --sample-size and --storage-rate together",
    );
  return {
    samplesPerEpoch,
    bytesPerSample: parseBytes(sampleSize, "--sample-size"),
    storageBytesPerSecond: parseBytes(storageRate, "--storage-rate"),
    cacheBytesPerSecond: parseBytes(flags.cacheRate ?? "5GB", "--cache-rate"),
  };
}
