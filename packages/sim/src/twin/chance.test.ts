/** Deliveries as they were seen: tokens of a stream are late together. */
import { Rng } from "@millrace/core";
import { fitTransport, type StepCostModel, type TransportSample } from "@millrace/serving";
import { expect, test } from "vitest";
import { Chance } from "./chance.ts";

const cost: StepCostModel = { stepSeconds: () => 0.01 };

/** Streams of 20 tokens, each late by 1 to 9 ms all along. */
function samples(): TransportSample[] {
  const rng = new Rng("streams");
  return Array.from({ length: 60 }, (_, i) => {
    const late = 1e-3 + 8e-3 * rng.next();
    const emittedAt = Array.from({ length: 20 }, (_, k) => i + 0.01 * k);
    return {
      ...{ startedAt: i - 0.01, offeredAt: i - 0.008, promptTokens: 10, askedTokens: 9, emittedAt },
      receivedAt: emittedAt.map((at) => at + late + 1e-4 * rng.next()),
    };
  });
}

/** Delays of 50 streams of 10 tokens: mean, and root mean square of how they change from token to token. */
function delays(chance: Chance) {
  let [sum, squares] = [0, 0];
  for (let stream = 0; stream < 50; stream++) {
    let before = 0;
    for (let token = 0; token < 10; token++) {
      const delay = chance.delivery(token === 0);
      sum += delay;
      if (token > 0) squares += (delay - before) ** 2;
      before = delay;
    }
  }
  return { mean: sum / 500, change: Math.sqrt(squares / 450) };
}

test("a stream's tokens are late together, so that gaps between them are the engine's", () => {
  const transport = fitTransport(samples());
  if (transport === null) throw new Error("sixty streams are enough");
  const together = delays(new Chance({ cost, transport }, "a"));
  const apart = delays(new Chance({ cost, transport: { ...transport, deliveryRanks: [] } }, "a"));
  expect(together.mean).toBeGreaterThan(4e-3);
  expect(together.mean).toBeLessThan(6e-3);
  expect(apart.mean).toBeCloseTo(together.mean, 3);
  expect(apart.change).toBeGreaterThan(2e-3);
  expect(together.change).toBeLessThan(apart.change / 2);
  expect(delays(new Chance({ cost, transport }, "a"))).toEqual(together);
});
