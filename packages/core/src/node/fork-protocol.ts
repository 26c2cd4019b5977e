/** Messages between a pool and its children. */

/** To the child: the first message names the module, each later one is a job. */
export type ToChild =
  | { readonly kind: "load"; readonly module: string }
  | { readonly kind: "job"; readonly input: unknown };

/** From the child: ready (or why not) once, then one answer per job. */
export type FromChild =
  | { readonly kind: "ready" }
  | { readonly kind: "broken"; readonly error: string }
  | { readonly kind: "done"; readonly value: unknown }
  | { readonly kind: "failed"; readonly error: string };
