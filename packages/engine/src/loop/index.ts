export type { GrammarState } from "./generation.ts";
export { LocalEngine, type LocalEngineParts } from "./local-engine.ts";
export type { SchedulerSettings } from "./scheduler-settings.ts";
export type { Vocabulary } from "./vocabulary.ts";
