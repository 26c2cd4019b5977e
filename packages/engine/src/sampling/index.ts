export { uniformAt } from "./counter-random.ts";
export { TokenHistory } from "./history.ts";
export { logSumExp, maxTopLogprobs, tokenLogprobs } from "./logprobs.ts";
export { defaultSampling, greedySampling } from "./params.ts";
export { argmax, NO_TOKEN, Sampler, type TokenFilter } from "./sampler.ts";
