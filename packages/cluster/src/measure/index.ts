/** Measuring a job's CPU curve by running it; loads the system package. */
export * from "../profile/optimistic.ts";
export * from "./command.ts";
