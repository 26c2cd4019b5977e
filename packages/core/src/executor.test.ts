import { executorConformance } from "./executor.conformance.ts";
import { InlineExecutor } from "./executor.ts";
import { run } from "./executor-task.conformance.ts";

executorConformance("InlineExecutor", () => new InlineExecutor(run));
