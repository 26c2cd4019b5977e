/** The task of the conformance suite, in a module of its own so that a pool can load it in another process. */

/** What to do: answer, fail, or never end. */
export type ConformanceInput =
  | { readonly kind: "double"; readonly value: number }
  | { readonly kind: "fail"; readonly message: string }
  | { readonly kind: "hang" }
  | { readonly kind: "echo"; readonly text: string };

export type ConformanceOutput = number | string;

export function run(input: ConformanceInput): ConformanceOutput | Promise<ConformanceOutput> {
  switch (input.kind) {
    case "double":
      return input.value * 2;
    case "echo":
      return Promise.resolve(input.text);
    case "fail":
      throw new Error(input.message);
    case "hang":
      return new Promise(() => setInterval(() => {}, 1000));
  }
}
