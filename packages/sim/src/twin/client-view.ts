/** Predicted runs as their clients would see them. */
import type { RequestTable } from "@millrace/serving";
import type { TwinCost } from "./capacity.ts";
import { Chance } from "./chance.ts";
import type { ClientRequest } from "./figures.ts";
import { runTwin, type TwinRun, type TwinSettings } from "./run-twin.ts";

/** A twin's run, and the requests in the order of the table as their clients saw them; refused ones have no tokens. */
export interface PredictedRun {
  readonly twin: TwinRun;
  readonly clients: readonly ClientRequest[];
}

/** Runs the twin with the chances of one seed. Deterministic. */
export function predictRun(
  settings: TwinSettings,
  requests: RequestTable,
  cost: TwinCost,
  seed = "twin",
): PredictedRun {
  const chance = new Chance(cost, seed);
  const twin = runTwin(settings, requests, { cost: cost.cost, chance });
  const clients = twin.byRow.map((request, i) => {
    let last = 0;
    return {
      arrivedAt: requests.arrivedAt[i] as number,
      // A stream keeps its order: no token overtakes the one before.
      tokenAt:
        request === null
          ? []
          : request.tokenAt.map((at, token) => {
              last = Math.max(last, at + chance.delivery(token === 0));
              return last;
            }),
    };
  });
  return { twin, clients };
}
