/** Vitest reporter whose last line is `N passed, N failed, N skipped`; a file that fails to load counts as one failure. */
import type { Reporter, TestModule } from "vitest/node";

export default class TallyReporter implements Reporter {
  onTestRunEnd(modules: ReadonlyArray<TestModule>): void {
    let passed = 0;
    let failed = 0;
    let skipped = 0;
    for (const module of modules) {
      let own = 0;
      for (const test of module.children.allTests()) {
        const state = test.result().state;
        if (state === "passed") passed++;
        else if (state === "failed") {
          failed++;
          own++;
        } else skipped++;
      }
      if (own === 0 && module.state() === "failed") failed++;
    }
    // Deferred so that it stays the last line, after the default reporter's summary.
    process.once("exit", () =>
      console.log(`${passed} passed, ${failed} failed, ${skipped} skipped`),
    );
  }
}
