/** Leases over a unix socket: the job's side and the scheduler's (interfaces in job/lease.ts). */
export * from "./lease-client.ts";
export * from "./lease-server.ts";
