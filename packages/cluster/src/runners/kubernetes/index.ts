/** Jobs on Kubernetes. Needs the optional package @kubernetes/client-node. */
export { type Connection, type ConnectionOptions, connect } from "./connection.ts";
export * from "./kubernetes.ts";
