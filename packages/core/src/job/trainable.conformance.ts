/** What every Trainable must do; call it from the test file of an implementation. */
import { describe, expect, test } from "vitest";
import type { Trainable } from "./trainable.ts";

/** How the suite makes an implementation, its batches and its folders. */
export interface TrainableSubject<B> {
  make(): Trainable<B> | Promise<Trainable<B>>;
  /** The i-th batch; equal i give equal batches. */
  batch(i: number): B | Promise<B>;
  /** A folder name that does not exist yet. */
  dir(name: string): string;
}

async function train<B>(
  subject: TrainableSubject<B>,
  model: Trainable<B>,
  from: number,
  to: number,
) {
  const losses: number[] = [];
  for (let i = from; i < to; i++) losses.push((await model.step(await subject.batch(i))).loss);
  return losses;
}

/** Registers the suite. */
export function trainableConformance<B>(name: string, subject: TrainableSubject<B>): void {
  describe(`${name} is a Trainable`, () => {
    test("steps tell finite losses, and two runs the same", async () => {
      await using a = await subject.make();
      await using b = await subject.make();
      const losses = await train(subject, a, 0, 4);
      for (const loss of losses) expect(Number.isFinite(loss)).toBe(true);
      expect(await train(subject, b, 0, 4)).toEqual(losses);
      expect(a.predict().peakBytes).toBeGreaterThan(0);
    });

    test("a model that was saved and loaded goes on bit for bit", async () => {
      await using straight = await subject.make();
      const losses = await train(subject, straight, 0, 6);
      const dir = subject.dir("saved");
      {
        await using first = await subject.make();
        await train(subject, first, 0, 3);
        await first.save(dir);
      }
      await using resumed = await subject.make();
      await resumed.load(dir);
      expect(await train(subject, resumed, 3, 6)).toEqual(losses.slice(3));
    });

    test("a folder without a checkpoint is refused, and the model stays usable", async () => {
      await using model = await subject.make();
      await expect(model.load(subject.dir("nothing-here"))).rejects.toThrow(/checkpoint/);
      expect((await train(subject, model, 0, 1)).length).toBe(1);
    });
  });
}
