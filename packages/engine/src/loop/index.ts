export type { GrammarState } from "./generation.ts";
export { LocalEngine } from "./local-engine.ts";
export type { LocalEngineParts } from "./local-engine-parts.ts";
export type { SchedulerSettings } from "./scheduler-settings.ts";
export type { Vocabulary } from "./vocabulary.ts";
