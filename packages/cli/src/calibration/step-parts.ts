/** Why steps are mispredicted: the share of computation and of the host's work, and the kind of step that weighs most. */
import { formatPercent, formatSeconds } from "@millrace/core";
import type { ProfileCost, ResidualGroup, StepTimed } from "@millrace/serving";
import { offText } from "./words.ts";

/** What steps were made of, seconds over all steps of a run. Pauses in which the engine had nothing to do belong to none. */
export interface StepParts {
  readonly steps: number;
  /** Building graphs and computing them, and what the same batches take in the profile's tight loop. */
  readonly compute: { readonly tightLoop: number; readonly measured: number };
  /** Planning, page orders, sampling, messages. */
  readonly host: { readonly measured: number };
  readonly predicted: number;
}

export function stepParts(cost: ProfileCost, steps: readonly StepTimed[]): StepParts {
  const sum = (of: (step: StepTimed) => number): number =>
    steps.reduce((total, step) => total + of(step), 0);
  const measured = sum((step) => step.computeSeconds);
  return {
    steps: steps.length,
    compute: { tightLoop: sum((step) => cost.computeSeconds(step)), measured },
    host: { measured: sum((step) => step.periodSeconds) - measured },
    predicted: sum((step) => cost.workSeconds(step)),
  };
}

/** Of a mean step, over several runs. */
export function meanStep(all: readonly StepParts[]): StepParts {
  const sum = (of: (one: StepParts) => number): number =>
    all.reduce((total, one) => total + of(one), 0);
  const steps = sum((one) => one.steps);
  const mean = (of: (one: StepParts) => number): number => sum(of) / steps;
  return {
    steps,
    compute: {
      tightLoop: mean(({ compute }) => compute.tightLoop),
      measured: mean(({ compute }) => compute.measured),
    },
    host: { measured: mean(({ host }) => host.measured) },
    predicted: mean(({ predicted }) => predicted),
  };
}

/** The kind of step that adds most to the bias of their sum; null where there are no steps. */
export function weightiest(residuals: readonly ResidualGroup[]): ResidualGroup | null {
  const weight = ({ share, bias }: ResidualGroup): number => Math.abs(share * bias);
  return residuals
    .filter(({ by }) => by === "phase")
    .reduce<ResidualGroup | null>(
      (most, group) => (most === null || weight(group) > weight(most) ? group : most),
      null,
    );
}

/** Where most of the bias comes from: `most of it from "chunk and decodes": 33% of the time, 4.0% too short`. Empty where there are no steps. */
export function weightiestText(residuals: readonly ResidualGroup[]): string {
  const most = weightiest(residuals);
  if (most === null) return "";
  return `most of it from ${JSON.stringify(most.group)}: ${formatPercent(most.share)} of the time, ${offText(most.bias)}`;
}

/** `465 µs, predicted 509 µs: computation 357 µs (163 µs in the profile's tight loop), host 108 µs`. */
export function meanStepText({ compute, host, predicted }: StepParts): string {
  const time = formatSeconds;
  return `${time(compute.measured + host.measured)}, predicted ${time(predicted)}: computation ${time(compute.measured)} (${time(compute.tightLoop)} in the profile's tight loop), host ${time(host.measured)}`;
}
