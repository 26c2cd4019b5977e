/** `millrace memory models`: the built-in training graphs. */
import { formatBytes, formatCount, formatSeconds } from "@millrace/core";
import { elements, lower, models, pytorchLibrary, rooflineCosts, storeAll } from "@millrace/remat";
import type { Session } from "../../session.ts";
import { table } from "../../ui/table.ts";
import { type GraphFlags, graphOf } from "./source.ts";

export async function memoryModelsCommand(
  session: Session,
  given: Readonly<Record<string, unknown>>,
): Promise<number> {
  const flags = given as GraphFlags;
  const costs = rooflineCosts(flags.device ?? "a100");
  const state = { sgd: 0, momentum: 1, adamw: 2 }[flags.optimizer ?? "sgd"];
  const rows = Object.keys(models).map((name) => {
    const graph = graphOf(name, flags);
    const { time, peak } = storeAll(
      lower(graph, { library: pytorchLibrary, costs, optimizerState: state }),
    );
    return {
      name,
      batch: graph.batch,
      operators: graph.operators.length,
      parameters: graph.operators
        .flatMap((op) => op.parameters)
        .reduce((sum, { dims }) => sum + elements(dims), 0),
      storeAllPeakBytes: peak,
      storeAllSeconds: time,
    };
  });
  if (session.json) {
    session.printJson({ schema: "millrace.memory-models/1", costs: costs.name, models: rows });
    return 0;
  }
  const right = (title: string) => ({ title, align: "right" }) as const;
  session.print(
    table(
      [
        { title: "model" },
        right("operators"),
        right("parameters"),
        right("peak, all stored"),
        right("step"),
      ],
      rows.map((row) => [
        row.name,
        String(row.operators),
        formatCount(row.parameters),
        formatBytes(row.storeAllPeakBytes),
        formatSeconds(row.storeAllSeconds),
      ]),
      session,
    ),
  );
  session.note(`batch ${flags.batch ?? 32}; times: ${costs.name} (modelled)`);
  return 0;
}
