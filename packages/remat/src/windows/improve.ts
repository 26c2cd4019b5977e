/** The dynamic program over a window's events, and the plan that it gives. */
import type { Rng } from "@millrace/core";
import { type Layout, layoutOf } from "../problem/layout.ts";
import type { Action, Plan } from "../problem/plan.ts";
import type { Problem, TensorId } from "../problem/problem.ts";
import { extraOf, partsBefore } from "../problem/runs.ts";
import { eventsOf } from "./events.ts";
import type { Back, Event, Window } from "./window.ts";

const infinity = Number.POSITIVE_INFINITY;

/** Share of a time by which equal ones are told apart. */
const ties = 1e-9;

/**
 * The plan with everything about the window's operators decided anew; never slower than before, up to ties, which `rng`
 * decides so that repeated calls wander over plans of equal time. Null when the window has nothing to say. With more
 * `scatter` each time counts as up to that share longer, at random: the plan moves on, and may be slower.
 */
export function improvePlan(
  problem: Problem,
  plan: Plan,
  budget: number,
  window: Window,
  rng: Rng,
  layout: Layout = layoutOf(problem),
  scatter = ties,
): Plan | null {
  const events = eventsOf(problem, layout, plan, window, budget);
  return new WindowTable(events, window, rng, scatter).plan(plan);
}

/** Decisions at an event, by set: the choice taken (0: none) and the tensors given up after it, among `touched`. */
interface Decisions {
  readonly choice: Uint8Array;
  readonly freed: Uint16Array;
}

class WindowTable {
  private readonly events: readonly Event[];
  private readonly window: Window;
  private readonly rng: Rng;
  private readonly scatter: number;
  private readonly decisions: Decisions[] = [];

  constructor(events: readonly Event[], window: Window, rng: Rng, scatter: number) {
    this.events = events;
    this.window = window;
    this.rng = rng;
    this.scatter = scatter;
  }

  plan(plan: Plan): Plan | null {
    const { events } = this;
    let values: Float64Array = new Float64Array(1);
    for (let i = events.length - 1; i >= 0; i--) values = this.before(i, values);
    return (values[0] as number) < infinity ? this.write(plan) : null;
  }

  /** Values before event i, from those after it. */
  private before(i: number, after: Float64Array): Float64Array {
    const { sizes } = this.window;
    const event = this.events[i] as Event;
    if (event.kind === "hold") {
      for (let s = 0; s < after.length; s++)
        if ((sizes[s] as number) > event.room) after[s] = infinity;
      return after;
    }
    const sets = event.kind === "back" ? 1 << event.bits : after.length;
    const choice = new Uint8Array(sets);
    const touched = touchedBy(event);
    const freed = this.mayFree(after, touched);
    this.decisions[i] = { choice, freed };
    if (event.kind === "need") {
      const before = new Float64Array(after.length).fill(infinity);
      const { needs, loses, room, roomAfter, staying } = event;
      for (let s = needs; s < after.length; s = (s + 1) | needs) {
        if ((sizes[s] as number) > room) continue;
        const left = s & ~loses;
        if ((sizes[left] as number) <= roomAfter) before[s] = after[left & staying] as number;
      }
      return before;
    }
    if (event.kind === "slot") return this.slot(event, after, choice);
    return this.back(event, after, choice);
  }

  private mayFree(values: Float64Array, touched: number): Uint16Array {
    const freed = new Uint16Array(values.length);
    let index = 1;
    for (let rest = touched; rest !== 0; rest &= rest - 1, index <<= 1) {
      const bit = rest & -rest;
      for (let s = bit; s < values.length; s = (s + 1) | bit) {
        const without = values[s ^ bit] as number;
        // Between equals it goes: what is held for nothing is in the way of others.
        if (without <= (values[s] as number)) {
          values[s] = without;
          freed[s] = (freed[s ^ bit] as number) | index;
        }
      }
    }
    return freed;
  }

  private noise(): number {
    return 1 + this.scatter * this.rng.next();
  }

  private slot(
    event: Event & { kind: "slot" },
    after: Float64Array,
    choice: Uint8Array,
  ): Float64Array {
    const { sizes } = this.window;
    const { must, room } = event;
    const before = must ? new Float64Array(after.length).fill(infinity) : after.slice();
    for (const [at, c] of event.runs.entries()) {
      const { output, auxiliary, inputs } = c;
      const made = output | auxiliary;
      const kept = ~c.inPlace;
      const time = c.time * this.noise();
      for (const present of partsBefore(c, must)) {
        const most = room - extraOf(c, present);
        const fixed = inputs | present;
        // Sets that hold the inputs and of what is made just `present`.
        for (let s = fixed; s < after.length; s = (((s | made) + 1) & ~made) | fixed) {
          const value = time + (after[(s & kept) | made] as number);
          if (value < (before[s] as number) && (sizes[s] as number) <= most) {
            before[s] = value;
            choice[s] = at + 1;
          }
        }
      }
    }
    return before;
  }

  private back(
    event: Event & { kind: "back" },
    after: Float64Array,
    choice: Uint8Array,
  ): Float64Array {
    const { sizes } = this.window;
    // The stage's own tensors come in with this event, seen from its end.
    const sets = choice.length;
    const before = new Float64Array(sets).fill(infinity);
    for (const [at, p] of event.choices.entries()) {
      const { needs, frees } = p;
      const time = p.time * this.noise();
      for (let s = needs; s < sets; s = (s + 1) | needs) {
        if ((sizes[s] as number) > p.first) continue;
        const left = s & ~frees;
        const size = sizes[left] as number;
        if (size > p.second || size > p.after) continue;
        const value = time + (after[left & event.staying] as number);
        if (value < (before[s] as number)) {
          before[s] = value;
          choice[s] = at + 1;
        }
      }
    }
    return before;
  }

  private write(plan: Plan): Plan {
    const { events, window } = this;
    const out: Action[] = [];
    let set = 0;
    let next = 0;
    const gone = new Set<TensorId>();
    const free = (mask: number): void => {
      for (let rest = mask; rest !== 0; rest &= rest - 1)
        out.push({ kind: "free", tensor: window.tensors[31 - Math.clz32(rest & -rest)] as number });
    };
    const settle = (i: number, from: number, touched: number): void => {
      const word = (this.decisions[i] as Decisions).freed[from] as number;
      let mask = 0;
      let index = 1;
      for (let rest = touched; rest !== 0; rest &= rest - 1, index <<= 1)
        if ((word & index) !== 0) mask |= rest & -rest;
      free(mask & from);
      set = from & ~mask;
    };
    const copy = (action: Action): void => {
      if (action.kind === "free") {
        if ((window.bitOf[action.tensor] as number) !== 0) return;
        if (gone.delete(action.tensor)) return;
      } else if ((window.bitOf[action.operator] as number) !== 0) return;
      out.push(action);
    };
    for (const [i, event] of events.entries()) {
      if (event.kind === "hold") continue;
      while (next < event.at) copy(plan[next++] as Action);
      const decisions = this.decisions[i] as Decisions;
      if (event.kind === "need") {
        copy(plan[next++] as Action);
        const left = set & ~event.loses;
        free(left & ~event.staying);
        settle(i, left & event.staying, touchedBy(event));
      } else if (event.kind === "slot") {
        const c = event.runs[(decisions.choice[set] as number) - 1];
        let to = set;
        if (c !== undefined) {
          out.push({ kind: "forward", operator: event.operator, choice: c.choice });
          to = (set & ~c.inPlace) | c.output | c.auxiliary;
        }
        settle(i, to, touchedBy(event));
      } else {
        const p = event.choices[(decisions.choice[set] as number) - 1] as Back;
        out.push({ kind: "backward", operator: event.operator, choice: p.choice });
        const old = plan[next++] as Action & { kind: "backward" };
        mend(old, event, p, gone, out);
        const left = set & ~p.frees;
        free(left & ~event.staying);
        settle(i, left & event.staying, touchedBy(event));
      }
    }
    free(set);
    while (next < plan.length) copy(plan[next++] as Action);
    return out;
  }
}

/** What the new choice frees outside the window need not be freed later; what the old one freed has to be. */
function mend(
  old: Action & { kind: "backward" },
  event: Event & { kind: "back" },
  p: Back,
  gone: Set<TensorId>,
  out: Action[],
): void {
  const had = event.choices.find((c) => c.choice === old.choice)?.freesOutside ?? [];
  for (const tensor of had)
    if (!p.freesOutside.includes(tensor)) out.push({ kind: "free", tensor });
  for (const tensor of p.freesOutside) if (!had.includes(tensor)) gone.add(tensor);
}

function touchedBy(event: Event): number {
  if (event.kind === "need") return event.needs & event.staying;
  if (event.kind === "slot") return event.touched;
  return event.kind === "back" ? event.touched & event.staying : 0;
}
