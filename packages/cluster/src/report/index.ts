/** HTML reports of simulated clusters; loads the chart library, so commands import it when they write one. */
export * from "./compare.ts";
export * from "./report.ts";
