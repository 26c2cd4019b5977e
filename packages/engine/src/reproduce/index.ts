/** `@millrace/engine/reproduce`: published figures measured on this engine, by paper. */
export { measureSarathi } from "./sarathi.ts";
export { measureSarathiServe } from "./sarathi-serve.ts";
export { reproduceVattention } from "./vattention.ts";
