/** Flags for the shape of a cluster. */
import type { FlagSpec } from "./tree.ts";
import { decimal, wholeNumber } from "./values.ts";

/** The servers of a simulated cluster; the defaults are those of the published experiments. */
export const clusterFlags: readonly FlagSpec[] = [
  {
    flags: "--servers <n>",
    text: "how many, all alike (default: 16)",
    parse: wholeNumber("--servers", 1),
  },
  {
    flags: "--gpus-per-server <n>",
    text: "default: 8",
    parse: wholeNumber("--gpus-per-server", 1),
  },
  {
    flags: "--cpus-per-server <n>",
    text: "default: 24",
    parse: wholeNumber("--cpus-per-server", 1),
  },
  {
    flags: "--memory-per-server <gb>",
    text: "host memory in GB (default: 500)",
    parse: decimal("--memory-per-server", 1, 1e6),
  },
];
