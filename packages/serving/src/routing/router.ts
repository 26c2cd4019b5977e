/**
 * Routing of requests to the replicas of a fleet, on arrival. Owns no queue and no load figure: it asks the caller.
 * Vidur (simulator.md, section 1.3) has round-robin, random and `lor`, which sees waiting requests alone; the others
 * here see all outstanding work. A choice costs O(replicas) at most and allocates nothing.
 */
import type { Rng } from "@millrace/core";

/** Chooses a replica for each request. */
export interface Router {
  /** Replica (0 … replicas - 1) for request `index`, which arrives at `now` seconds; call in order of arrival. */
  route(index: number, now: number): number;
}

/** What a router may know. The callbacks give the state at the time of the call, earlier choices included. */
export interface RouterInputs {
  readonly replicas: number;
  /** A stream of the router's own. */
  readonly rng: Rng;
  /** Tokens a replica has still to compute for waiting and running requests. */
  readonly outstandingTokens: (replica: number) => number;
  /** Requests of a replica that wait for admission. */
  readonly waitingRequests: (replica: number) => number;
}

/** The routing policies by name. */
export const routers = {
  /** Replica i, i + 1, …, in turn. */
  "round-robin": ({ replicas }): Router => {
    let last = replicas - 1;
    return {
      route: () => {
        last = last + 1 === replicas ? 0 : last + 1;
        return last;
      },
    };
  },
  /** Uniform and independent. */
  random: ({ replicas, rng }): Router => ({ route: () => rng.int(0, replicas - 1) }),
  /** Least outstanding tokens; ties go to the next replica after the one chosen last, so that an idle fleet fills evenly. */
  "least-outstanding": ({ replicas, outstandingTokens }): Router => {
    let last = replicas - 1;
    return {
      route: () => {
        let best = -1;
        let least = Number.POSITIVE_INFINITY;
        for (let k = 1; k <= replicas; k++) {
          const replica = (last + k) % replicas;
          const load = outstandingTokens(replica);
          if (load < least) {
            least = load;
            best = replica;
          }
        }
        last = best;
        return best;
      },
    };
  },
  /** The better of two different replicas drawn at random (Mitzenmacher 2001). */
  "power-of-two": ({ replicas, rng, outstandingTokens }): Router => ({
    route: () => {
      if (replicas === 1) return 0;
      const a = rng.int(0, replicas - 1);
      const other = rng.int(0, replicas - 2);
      const b = other < a ? other : other + 1;
      return outstandingTokens(b) < outstandingTokens(a) ? b : a;
    },
  }),
  /** Vidur's "least outstanding requests": shortest waiting queue, running requests not counted, ties to the lowest number. */
  lor: ({ replicas, waitingRequests }): Router => ({
    route: () => {
      let best = 0;
      let least = waitingRequests(0);
      for (let replica = 1; replica < replicas; replica++) {
        const waiting = waitingRequests(replica);
        if (waiting < least) {
          least = waiting;
          best = replica;
        }
      }
      return best;
    },
  }),
} as const satisfies Record<string, (inputs: RouterInputs) => Router>;

/** A routing policy by name. */
export type RoutingPolicy = keyof typeof routers;

/** A router of the named policy over at least one replica. */
export function createRouter(policy: RoutingPolicy, inputs: RouterInputs): Router {
  return routers[policy](inputs);
}
