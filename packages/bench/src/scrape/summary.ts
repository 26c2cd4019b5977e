/** What a server told of itself, summed up. */
import type { GaugeReport, ServerSamples, ServerStateReport } from "../contracts.ts";

type Column = readonly (number | null)[];

const known = (column: Column): number[] => column.filter((value) => value !== null);

/** Mean over readings, which are evenly spaced, and the largest; null where there is none. */
function gauge(column: Column): GaugeReport | null {
  const values = known(column);
  if (values.length === 0) return null;
  return {
    mean: values.reduce((a, b) => a + b, 0) / values.length,
    max: values.reduce((a, b) => Math.max(a, b)),
  };
}

/** By how much a counter grew; one that fell was started anew at 0. */
function growth(column: Column): number | null {
  const values = known(column);
  if (values.length < 2) return null;
  let total = 0;
  for (let i = 1; i < values.length; i++) {
    const [before, now] = [values[i - 1] as number, values[i] as number];
    total += now >= before ? now - before : now;
  }
  return total;
}

export function serverState(samples: ServerSamples): ServerStateReport {
  const { url, dialect, atUs, failed, remark } = samples;
  return {
    ...{ url, dialect, samples: atUs.length, failed, remark },
    running: gauge(samples.running),
    waiting: gauge(samples.waiting),
    kvUse: gauge(samples.kvUse),
    preemptions: growth(samples.preemptions),
    promptTokens: growth(samples.promptTokens),
    generatedTokens: growth(samples.generatedTokens),
  };
}
