/** Reproduction of the Synergy experiments. */
export { reproduceSynergy } from "./synergy.ts";
