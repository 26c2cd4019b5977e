/**
 * Capacity under promises of several schedulers, predicted and measured on the real engine. Both sides ask at which rate one
 * schedule of requests, stretched and squeezed, keeps the promises: with other arrivals on either side, five percent could
 * not be told from chance within minutes. A server of each scheduler runs all the time, and they are tried in turn, so that
 * what the machine does meanwhile falls on all alike.
 */
import { join } from "node:path";
import { InvariantError, MillraceError } from "@millrace/core";
import {
  type LengthSpec,
  meanSpeed,
  type RequestTable,
  type SchedulerName,
  type StepSpeed,
  stepResiduals,
} from "@millrace/serving";
import {
  atRate,
  pressureOf,
  type TwinCost,
  type TwinSlo,
  twinCapacity,
  twinPressure,
} from "@millrace/sim/twin";
import type { Knobs } from "./candidates.ts";
import { type FoundRate, foundRate, narrowed, nextRate, type TriedRate } from "./crossing.ts";
import { disturbed } from "./machine.ts";
import { type Served, serveKnobs, twinCostAt } from "./measure.ts";
import { seenByClient } from "./measured.ts";
import type { CalibrationContext, Learnt } from "./pipeline.ts";
import { runOf, type Sent, type Stage, type StageLogs, speedOf } from "./stage.ts";
import { anchorLoad, userWorkload, withOverhead } from "./workloads.ts";

export interface CapacityQuestion {
  readonly knobs: readonly Knobs[];
  readonly lengths: LengthSpec;
  readonly slo: readonly TwinSlo[];
  /** Seconds of each load, and the fewest requests of one. */
  readonly seconds: number;
  readonly leastRequests: number;
  /** Rates tried with each scheduler at least, and how many more where they do not enclose its capacity narrowly. */
  readonly rounds: number;
  readonly moreRounds: number;
  readonly seed: number;
}

/** A rate that was tried. */
export interface CapacityProbe extends TriedRate {
  /** The pressure predicted at that rate and the speed just then. */
  readonly predicted: number;
  readonly stepBias: number;
  /** Steps of another load right before it against the profile; null where that was not taken. */
  readonly before: number | null;
  readonly disturbed: boolean;
}

export interface SchedulerCapacity {
  readonly scheduler: SchedulerName;
  readonly requests: number;
  /** At the speed of the profile, before anything ran: the first rate tried. */
  readonly asProfiledQps: number;
  /** At the speed of the loads before and after those measured. */
  readonly predictedQps: number;
  /** The promise that limits it. */
  readonly limit: string;
  readonly measuredQps: FoundRate;
  readonly probes: readonly CapacityProbe[];
}

/** Requests from which the length of a schedule is judged. */
const SAMPLE = 300;
/** Draws whose middle is the prediction, and how near its search comes. */
const EXACT = { draws: 15, tolerance: 0.002 };
/** Rates between which the growth of pressure is taken, against the predicted capacity. */
const AROUND = [0.94, 1.06] as const;

/** Predicts and measures. Rejects with NOTHING_FITS where a scheduler breaks the promises at any rate. */
export async function compareCapacities(
  context: CalibrationContext,
  learnt: Learnt,
  question: CapacityQuestion,
  folder: string,
): Promise<readonly SchedulerCapacity[]> {
  const contenders: Contender[] = [];
  const stages: Stage[] = [];
  try {
    for (const knobs of question.knobs) {
      const served = await serveKnobs(context, learnt, knobs, join(folder, knobs.scheduler));
      // Before anything else can fail: a server is never left behind.
      stages.push(served.stage);
      contenders.push(new Contender(knobs.scheduler, served, question));
    }
    for (let round = 0; round < question.rounds; round++)
      for (const contender of contenders) await contender.probe();
    for (let round = 0; round < question.moreRounds; round++)
      for (const contender of contenders) if (!contender.narrowed) await contender.probe();
    const capacities: SchedulerCapacity[] = [];
    for (const contender of contenders) capacities.push(await contender.close());
    return capacities;
  } finally {
    context.session.progress().end();
    for (const stage of stages) await stage[Symbol.asyncDispose]();
  }
}

/** A rate that was tried, with the loads before and after it that tell the machine's speed. */
interface Tried extends TriedRate {
  readonly before: Sent;
  readonly sent: Sent;
  readonly after: Sent;
}

/** One scheduler and the rates tried with it. */
class Contender {
  private readonly scheduler: SchedulerName;
  readonly stage: Stage;
  private readonly served: Served;
  private readonly question: CapacityQuestion;
  private readonly requests: RequestTable;
  private readonly asProfiledQps: number;
  private readonly slope: number;
  private readonly tried: Tried[] = [];

  constructor(scheduler: SchedulerName, served: Served, question: CapacityQuestion) {
    this.scheduler = scheduler;
    this.stage = served.stage;
    this.served = served;
    this.question = question;
    const { lengths, seconds, leastRequests, seed } = question;
    const { profile, settings } = served;
    const cost = twinCostAt(profile, null);
    const longest = settings.maxRequestTokens - (profile.transport?.addedTokens ?? 0);
    const draw = (count: number): RequestTable => userWorkload(lengths, count, 1, seed, longest);
    // The schedule is as long as it is served, so that both sides have the same requests.
    const rough = twinCapacity(settings, this.asServed(draw(SAMPLE)), cost, question.slo).qps;
    if (rough === 0)
      throw new MillraceError("NOTHING_FITS", `${scheduler} keeps the promises at no rate`, {
        hint: "promise more time",
      });
    this.requests = draw(Math.max(leastRequests, Math.round(seconds * rough)));
    this.asProfiledQps = this.capacity(this.requests, cost).qps;
    const [low, high] = AROUND.map((share) => this.predicted(share * this.asProfiledQps, cost));
    const growth = Math.log((high as number) / (low as number));
    this.slope = Math.max(1, growth / Math.log(AROUND[1] / AROUND[0]));
  }

  /** Whether the rates tried lie on either side of the capacity, and near. */
  get narrowed(): boolean {
    return narrowed(this.tried);
  }

  /** Sends the schedule at the rate that tells most now. Others have had their turn, so that the machine's speed is taken anew. */
  async probe(): Promise<void> {
    const { served, tried, question } = this;
    const rateQps = nextRate(tried, this.asProfiledQps, this.slope);
    const seed = `${question.seed}/${tried.length}`;
    const phase = `${this.scheduler} at ${rateQps.toPrecision(3)} requests/s`;
    const requests = atRate(this.requests, rateQps);
    const load = anchorLoad(served.profile, served.settings, requests);
    const before = await served.anchor(load);
    const sent = await served.send({ requests, seed, phase });
    const { value } = pressureOf(seenByClient(sent.client), question.slo);
    tried.push({ rateQps, pressure: value, before, sent, after: await served.anchor(load) });
  }

  /** Ends the server and predicts at the speed that its other loads ran at. */
  async close(): Promise<SchedulerCapacity> {
    const { served, tried, scheduler } = this;
    const logs = await this.stage.close();
    const asProfiled = twinCostAt(served.profile, null).cost;
    const around = tried.map(({ before, after }) => ({
      before: speedOf(before, logs, asProfiled),
      after: speedOf(after, logs, asProfiled),
    }));
    const speeds = around.map(({ before, after }) => meanSpeed([before, after]));
    const probes = tried.map((one, i) =>
      this.probed(one, logs, around[i]?.before ?? null, speeds[i] ?? null),
    );
    const all = meanSpeed(speeds);
    const { qps, limit } = this.capacity(this.requests, twinCostAt(served.profile, all));
    return {
      scheduler,
      requests: this.requests.count,
      asProfiledQps: this.asProfiledQps,
      predictedQps: qps,
      limit,
      measuredQps: foundRate(tried),
      probes,
    };
  }

  private probed(
    { rateQps, pressure, sent }: Tried,
    logs: StageLogs,
    before: StepSpeed | null,
    speed: StepSpeed | null,
  ): CapacityProbe {
    const now = twinCostAt(this.served.profile, speed);
    const run = runOf(sent, logs, now.cost);
    if (run.engine.replay.difference !== null)
      throw new InvariantError(`${this.scheduler}: the replayed decisions differ`);
    return {
      rateQps,
      pressure,
      predicted: this.predicted(rateQps, now),
      stepBias: stepResiduals(now.cost, run.steps)[0]?.bias ?? Number.NaN,
      before: before?.all.ratio ?? null,
      disturbed: disturbed(sent.watch),
    };
  }

  private capacity(requests: RequestTable, cost: TwinCost) {
    const { settings } = this.served;
    return twinCapacity(settings, this.asServed(requests), cost, this.question.slo, EXACT);
  }

  private predicted(rateQps: number, cost: TwinCost): number {
    const requests = this.asServed(atRate(this.requests, rateQps));
    const { settings } = this.served;
    return twinPressure(settings, requests, cost, this.question.slo, EXACT.draws).value;
  }

  private asServed(requests: RequestTable): RequestTable {
    return withOverhead(requests, this.served.profile.transport?.addedTokens ?? 0);
  }
}
