/** Whether a job and a service mean the same batches. */
import { protocolVersion, type ToService } from "./protocol.ts";

/** Throws Error, with what differs, when the job counts on something else. */
export function checkJoin(
  { version, expect = {} }: ToService & { readonly kind: "join" },
  is: { readonly identity: string; readonly batchSize: number; readonly transform: string },
): void {
  if (version !== protocolVersion)
    throw new Error(`the job speaks version ${version}, the service ${protocolVersion}`);
  for (const [name, wanted, ours] of [
    ["data set", expect.identity, is.identity],
    ["batch size", expect.batchSize, is.batchSize],
    ["transform", expect.transform, is.transform],
  ] as const)
    if (wanted !== undefined && wanted !== ours)
      throw new Error(`the job's ${name} is ${wanted}, the service's ${ours}`);
}
