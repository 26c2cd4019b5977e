/** The pure part of data-stall analysis, without anything that touches the machine: @millrace/data/stall-model. */
export * from "./epoch.ts";
export * from "./hit-rate.ts";
export * from "./job-profile.ts";
export * from "./rates.ts";
export * from "./what-if.ts";
