/** Steps of the tiny model, roughly, for tests of what does not depend on how well they are known. */
export const roughProfile = {
  ...{ schema: "millrace.profile/1", model: "tiny", machine: "any", threads: 1 },
  ...{ engine: "none", date: "2026-01-01", units: { time: "s", length: "token" } },
  points: [1, 2, 8, 32, 64].flatMap((tokens) => [
    { decodeRows: tokens, decodeContext: 20 * tokens, seconds: 3e-3 + 1e-4 * tokens },
    {
      ...{ prefillTokens: 2 * tokens, prefillRows: 1, prefillPairs: 2 * tokens * tokens },
      seconds: 3e-3 + 2e-4 * tokens,
    },
  ]),
  // What serving adds is known: nothing has to be learnt on a server of its own first.
  loop: {
    ...{ decode: Array(10).fill(1), prefill: Array(6).fill(1), step: 2e-4, freshDecode: 0 },
    ...{ prefillShare: 0, decodeRow: 0, prefillRow: 0, mapped: 0, steps: 500, jitter: null },
  },
  transport: { arrival: 2e-3, arrivalPerToken: 0, delivery: 1e-3, addedTokens: 1, requests: 100 },
};
