/** The proportional share of a cluster whose servers may differ. */
import type { ServerState } from "../contracts.ts";
import type { ShareTerms } from "./options.ts";

/**
 * What every GPU can be given wherever it is: the least cores and host memory per GPU over the servers that have GPUs.
 * Cores are not rounded: a share of 2.5 is 5 cores for two GPUs.
 */
export function shareTerms(servers: readonly ServerState[]): ShareTerms {
  const gpuServers = servers.filter((server) => server.gpus > 0);
  const least = (of: (server: ServerState) => number) => Math.min(...gpuServers.map(of));
  const most = (of: (server: ServerState) => number) => Math.max(...gpuServers.map(of));
  return {
    cpusPerGpu: least((s) => s.cpus / s.gpus),
    hostBytesPerGpu: least((s) => s.hostBytes / s.gpus),
    serverGpus: most((s) => s.gpus),
    serverCpus: most((s) => s.cpus),
    serverHostBytes: most((s) => s.hostBytes),
  };
}
