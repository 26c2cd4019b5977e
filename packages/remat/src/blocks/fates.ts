/**
 * What becomes of the tensor between two blocks, from the end of the forward pass to the last stage of its reader (the next
 * block), told apart as far as bounds need it: how often it is made again, from when on, and who can see it.
 *
 * Take the moment in which a block and its output together hold least. If the output is there then, the two hold that much
 * at every other moment as well, whatever the output does: it `stays`. Else it is gone for a while, and is
 * - `near`: gone when the first backward operator runs, made again once, in stages of its reader;
 * - `nearTwice`: the same, but made, gone and made again there;
 * - `far`: gone at first, made again once in stages of block `end` beyond its reader, there from then on;
 * - `farTwice`: made again in stages of block `end`, gone, and made again later;
 * - `late`: there when the first backward operator runs and in all stages of blocks beyond `end`, then gone and made again;
 * - `lateHeld`: the same, when block and output never hold less than the output's size: as if it were there, for its reader.
 * `anyhow` stands for all but `stays` where they are not told apart.
 */
export type Fate =
  | "stays"
  | "near"
  | "nearTwice"
  | "far"
  | "farTwice"
  | "late"
  | "lateHeld"
  | "anyhow";

/**
 * How a block sees its input in its own stages and in runs before them: there all the time; appearing once in its own
 * stages and not before; at any time there, not before; there on entry to its own stages, at any time before; at any time.
 */
export type Sight = "held" | "once" | "own" | "entry" | "any";

/** What a block sees of an input by its fate. */
export const sightOf: Readonly<Record<Fate, Sight>> = {
  stays: "held",
  near: "once",
  nearTwice: "own",
  far: "entry",
  farTwice: "any",
  late: "any",
  lateHeld: "entry",
  anyhow: "any",
};

/** The table of a block's own stages that a sight goes with. */
export const ownInput = {
  held: "goes",
  once: "once",
  own: "appears",
  entry: "goes",
  any: "appears",
} as const;

/** Whether a block may use its input in runs before its own stages although it was gone. */
export function seenEarly(sight: Sight): boolean {
  return sight === "entry" || sight === "any";
}

/** Whether a tensor is there when the first backward operator runs. */
export function thereAtFirst(fate: Fate): boolean {
  return fate === "stays" || fate === "late" || fate === "lateHeld";
}
