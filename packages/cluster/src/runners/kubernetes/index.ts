/** Jobs on Kubernetes. Needs the optional package @kubernetes/client-node. */
export { type ConnectionOptions, connect } from "./connection.ts";
export * from "./kubernetes.ts";
