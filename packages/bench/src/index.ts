export * from "./score/score-file.ts";
