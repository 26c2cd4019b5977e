/**
 * The conformance suite: what servers were seen to send, and what a client that counts tokens must make of it. Published
 * as data, so that other clients can be held against it.
 */
import { chunks } from "./chunks.ts";
import { endings } from "./endings.ts";
import { failures } from "./failures.ts";
import { framing } from "./framing.ts";
import type { StreamScript } from "./script.ts";

/** All scripts. Names are unique. */
export const streamScripts: readonly StreamScript[] = [
  ...framing,
  ...chunks,
  ...endings,
  ...failures,
];
