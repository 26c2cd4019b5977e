/** `millrace cluster advise`: flags and help. */
import { clusterFlags } from "./cluster-flags.ts";
import type { CommandSpec } from "./tree.ts";
import { decimal, wholeNumber } from "./values.ts";

const text = `Reads what jobs asked for and what they used, and says which could ask for less, which are short of CPUs, the size that fits each, and what that does to their run times. It changes nothing and needs no access to the cluster: a file will do.

Slurm: sacct --allusers --parsable2 --starttime now-7days --format JobID,JobName,User,State,Submit,Elapsed,NNodes,NTasks,AllocTRES,ReqMem,TotalCPU,MaxRSS,TRESUsageInTot,TRESUsageInAve > jobs.txt

Kubernetes, running jobs: ask Prometheus for container_cpu_usage_seconds_total, container_cpu_cfs_periods_total, container_cpu_cfs_throttled_periods_total, container_memory_working_set_bytes, kube_pod_container_resource_requests, kube_pod_container_resource_limits, kube_pod_owner, kube_pod_start_time and DCGM_FI_DEV_GPU_UTIL over some hours (a range in the query, see the example), or hand over the text of /federate. What is missing is left out of the advice.

Jobs of one owner, name and request are one line. "short": cores were busy all the time and the GPUs were not; without a profile the time to expect is a range, from no gain to gain in proportion. Measure such a job with \`millrace cluster profile\` and give the file with --profiles: then it is one figure. --servers replays the jobs on servers of that shape, queues and placement included.`;

export const adviseCommand: CommandSpec = {
  usage: "advise <file>",
  summary: "right sizes of real jobs, from sacct or Prometheus; read-only",
  text,
  flags: [
    { flags: "--profiles <json>", text: "job profiles, by job name: a file or a folder" },
    {
      flags: "--headroom <percent>",
      text: "above what was used (default: 20)",
      parse: decimal("--headroom", 0, 1000),
    },
    {
      flags: "--top <n>",
      text: "lines of the table (default: 20)",
      parse: wholeNumber("--top", 1),
    },
    { flags: "--all", text: "also jobs without GPUs" },
    {
      flags: "--least <seconds>",
      text: "leave out jobs that ran for less (default: 60)",
      parse: decimal("--least", 0, 1e7),
    },
    ...clusterFlags.map((flag) =>
      flag.flags.startsWith("--servers") ? { ...flag, text: "replay on so many servers" } : flag,
    ),
  ],
  examples: [
    ["millrace cluster advise examples/sacct.txt", "what a week of jobs used"],
    ["millrace cluster advise jobs.txt --servers 16 --cpus-per-server 64", "and replayed"],
    [
      "curl -sG http://prometheus:9090/api/v1/query --data-urlencode 'query={__name__=~\"container_cpu_.*|container_memory_working_set_bytes|kube_pod_.*|DCGM_FI_DEV_GPU_UTIL\"}[6h]' > pods.json && millrace cluster advise pods.json",
      "jobs that run on Kubernetes now",
    ],
  ],
  run: async (session, { args, flags }) =>
    (await import("../commands/cluster/advise.ts")).clusterAdviseCommand(
      session,
      args[0] ?? "",
      flags,
    ),
};
