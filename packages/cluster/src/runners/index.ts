/** What executes plans on real machines; loads the system package. Kubernetes is a subpath of its own. */
export type * from "./runner.ts";
