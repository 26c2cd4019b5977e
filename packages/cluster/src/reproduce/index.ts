/** Reproduction of the Synergy experiments. */
export { publishedMix } from "./published-mix.ts";
export { reproduceSynergy } from "./synergy.ts";
