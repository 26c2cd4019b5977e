/** `@millrace/sim/reproduce`: published figures beside ours, by paper. */
export type { ReproduceOptions, ReproduceRow, Reproduction } from "./experiment.ts";
export { reproduceSarathi } from "./sarathi.ts";
export { reproduceSarathiServe } from "./sarathi-serve.ts";
export { reproduceVidur } from "./vidur.ts";
