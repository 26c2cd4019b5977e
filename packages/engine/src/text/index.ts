export { type EndRules, Output, type OutputEnd, type TokenTexts } from "./output.ts";
export { StopMatcher } from "./stop-matcher.ts";
export { Utf8Stream } from "./utf8.ts";
