import { type SchedulerName, schedulers } from "../index.ts";
import { schedulerConformance } from "./scheduler.conformance.ts";

for (const name of Object.keys(schedulers) as SchedulerName[]) schedulerConformance(name, 120);
