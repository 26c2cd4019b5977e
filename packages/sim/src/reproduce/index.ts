/** `@millrace/sim/reproduce`: published figures beside ours, by paper. */
export { reproduceSarathi } from "./sarathi.ts";
export { reproduceSarathiServe } from "./sarathi-serve.ts";
export { reproduceVidur } from "./vidur.ts";
