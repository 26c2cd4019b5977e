/**
 * Stalls by cause. A gap longer than its target is a stall; what it is too long by goes to the parts that took longer than
 * their share of the target. That share is what the run usually spends on them (the median over gaps that were in time),
 * scaled down where even that is more than the target: then the usual itself is at fault.
 */
import { quantileSorted } from "@millrace/core";
import {
  type AttributionReport,
  type ClockFit,
  type RequestRecord,
  type RunData,
  type Stall,
  type StallCause,
  type StallGroup,
  type StallParts,
  stallCauses,
  type Targets,
} from "../contracts.ts";
import { latencyMs } from "../metrics/latency.ts";
import { recordTargetUs } from "../metrics/targets.ts";
import { BusyClient } from "./busy-client.ts";
import { type FittedClock, fitClock } from "./clock-fit.ts";
import { eachGap, type Gap } from "./gap-parts.ts";

const LONGEST = 50;
/** Gaps in time that it takes to know what is usual. */
const LEAST_USUAL = 10;

type Parts = Record<StallCause, number>;
const zeros = (): Parts => ({ scheduling: 0, compute: 0, frontend: 0, network: 0, client: 0 });

/** The attribution of a run; null where the server told no times. O(tokens log tokens). */
export function attribute(run: RunData, targets: Targets): AttributionReport | null {
  const answered = run.records.filter(({ warmup, status }) => !warmup && status === "ok");
  const telling = answered.filter(({ server }) => server !== null);
  if (telling.length === 0) return null;
  const clocks = new Map<string, FittedClock | null>();
  for (const name of new Set(telling.map(({ server }) => server?.clock ?? ""))) {
    clocks.set(
      name,
      fitClock(
        name,
        telling.filter(({ server }) => server?.clock === name),
      ),
    );
  }
  const clockOf = ({ server }: RequestRecord): FittedClock | null =>
    server === null ? null : (clocks.get(server.clock) ?? null);
  const busy = new BusyClient(run.end?.self.workers ?? []);
  const groups = [new Group(), new Group()] as const;
  const target = (record: RequestRecord, { position }: Gap): number =>
    position === 0 ? recordTargetUs(targets.ttft, record) : targets.tbtUs;
  const groupOf = ({ position }: Gap): Group => (position === 0 ? groups[0] : groups[1]);
  const each = (take: (record: RequestRecord, gap: Gap) => void): void => {
    for (const record of answered)
      eachGap(record, clockOf(record), busy, (gap) => take(record, gap));
  };
  // Twice over the tokens: what is usual has to be known before anything is unusual.
  each((record, gap) => groupOf(gap).add(gap, gap.us > target(record, gap)));
  for (const group of groups) group.settle();
  const longest: Stall[] = [];
  let unknownUs = 0;
  each((record, gap) => {
    const limit = target(record, gap);
    if (gap.us <= limit) return;
    if (!gap.known) {
      unknownUs += gap.us - limit;
      return;
    }
    keep(longest, groupOf(gap).stall(record, gap, limit));
  });
  const knownUs = groups[0].excessUs + groups[1].excessUs;
  const joined = telling.filter((record) => clockOf(record) !== null).length;
  const broken = [...clocks.values()].filter((clock) => clock === null).length;
  return {
    clocks: [...clocks.values()].flatMap((clock) =>
      clock === null ? [] : [plain(clock, Number(run.header.startMonotonicNs) / 1e3)],
    ),
    joined,
    unjoined: answered.length - joined,
    attributedShare: knownUs + unknownUs > 0 ? knownUs / (knownUs + unknownUs) : 1,
    first: groups[0].report(),
    later: groups[1].report(),
    longest: longest.sort((a, b) => b.excessMs - a.excessMs).slice(0, LONGEST),
    remarks:
      broken === 0
        ? []
        : [
            `${broken} of ${clocks.size} server clocks fit no line: a clock was set during the run. Their requests were left out.`,
          ],
  };
}

/** The fit for reports: against this host's monotonic clock instead of the start of the run. */
function plain({ clientUs: _, ...fit }: FittedClock, startUs: number): ClockFit {
  return { ...fit, offsetUs: fit.offsetUs - startUs };
}

/** Keeps the longest without sorting at every stall. */
function keep(longest: Stall[], stall: Stall): void {
  longest.push(stall);
  if (longest.length < 20 * LONGEST) return;
  longest.sort((a, b) => b.excessMs - a.excessMs);
  longest.length = LONGEST;
}

/** First tokens, or all others. */
class Group {
  excessUs = 0;
  private tokens = 0;
  private stalls = 0;
  private readonly excess = zeros();
  private readonly causes = zeros();
  private readonly all: Record<StallCause, number[]> = {
    ...{ scheduling: [], compute: [], frontend: [], network: [], client: [] },
  };
  private readonly inTime: Record<StallCause, number[]> = {
    ...{ scheduling: [], compute: [], frontend: [], network: [], client: [] },
  };
  private usual: Parts = zeros();

  add({ known, parts }: Gap, stalled: boolean): void {
    if (!known) return;
    this.tokens++;
    for (const cause of stallCauses) {
      this.all[cause].push(parts[cause]);
      if (!stalled) this.inTime[cause].push(parts[cause]);
    }
  }

  /** All gaps have been added. */
  settle(): void {
    const few = this.inTime.compute.length < LEAST_USUAL;
    // Where nothing is in time, everything together is what is usual.
    const from = few ? this.all : this.inTime;
    for (const cause of stallCauses)
      this.usual[cause] =
        from.compute.length < LEAST_USUAL
          ? 0
          : quantileSorted(Float64Array.from(from[cause]).sort(), 0.5);
  }

  stall(record: RequestRecord, gap: Gap, limitUs: number): Stall {
    const { parts, us, position, atUs, row } = gap;
    const usual = stallCauses.reduce((sum, cause) => sum + this.usual[cause], 0);
    const scale = usual > limitUs ? limitUs / usual : 1;
    const over = zeros();
    let sum = 0;
    for (const cause of stallCauses) {
      over[cause] = Math.max(0, parts[cause] - scale * this.usual[cause]);
      sum += over[cause];
    }
    const excessUs = us - limitUs;
    let cause: StallCause = "scheduling";
    for (const name of stallCauses) {
      if (over[name] > over[cause]) cause = name;
      this.excess[name] += sum > 0 ? (over[name] / sum) * excessUs : 0;
    }
    this.excessUs += excessUs;
    this.stalls++;
    this.causes[cause]++;
    return {
      request: record.id,
      index: record.index,
      position,
      atUs,
      gapMs: us / 1e3,
      excessMs: excessUs / 1e3,
      partsMs: scaled(parts, 1e-3),
      cause,
      step: record.server?.step[row] ?? -1,
    };
  }

  report(): StallGroup {
    const { tokens, stalls, excessUs, excess, causes } = this;
    return {
      tokens,
      stalls,
      excessSeconds: excessUs / 1e6,
      excessShares: scaled(excess, excessUs > 0 ? 1 / excessUs : 0),
      causes: { ...causes },
      parts: Object.fromEntries(
        stallCauses.map((cause) => [cause, latencyMs(Float64Array.from(this.all[cause]).sort())]),
      ) as StallGroup["parts"],
    };
  }
}

function scaled(parts: StallParts, by: number): StallParts {
  return Object.fromEntries(stallCauses.map((cause) => [cause, parts[cause] * by])) as StallParts;
}
