export * from "./predictor-files.ts";
