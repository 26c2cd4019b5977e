export {
  type Difference,
  type Drive,
  differences,
  ourDrive,
  runScript,
  type ScriptResult,
} from "./run-script.ts";
export type { Act, Expected, StreamScript } from "./script.ts";
export { streamScripts } from "./scripts.ts";
