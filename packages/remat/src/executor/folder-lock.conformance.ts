/** A process that takes folders as it is told: for tests of who gets one that several want at once. */
import { lockFolder } from "./folder-lock.ts";

process.on("message", (dir: string) => {
  let taken = true;
  try {
    lockFolder(dir);
  } catch {
    taken = false;
  }
  process.send?.(taken);
});
process.on("disconnect", () => process.exit(0));
process.send?.("ready");
