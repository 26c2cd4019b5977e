export { asyncStackBytes, koffi } from "./foreign.ts";
