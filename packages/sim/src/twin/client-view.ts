/** A predicted run as its clients would see it. */
import type { RequestTable, TransportCost } from "@millrace/serving";
import type { ClientRequest } from "./figures.ts";
import type { TwinRun } from "./run-twin.ts";

/** The requests of a twin's run in the order of the table; refused ones have no tokens. */
export function clientView(
  run: TwinRun,
  requests: RequestTable,
  transport: TransportCost | null,
): readonly ClientRequest[] {
  const delivery = transport?.delivery ?? 0;
  return run.byRow.map((request, i) => ({
    arrivedAt: requests.arrivedAt[i] as number,
    tokenAt: request === null ? [] : request.tokenAt.map((at) => at + delivery),
  }));
}
