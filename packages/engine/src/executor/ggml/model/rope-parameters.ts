/** Rotary positions as a model file asks for them: none, linear interpolation or YaRN (Peng et al., 2023). */
import type { RopeParameters } from "@millrace/ggml";
import type { Metadata } from "@millrace/ggml/gguf";
import { unsupported } from "./unsupported.ts";

/**
 * Parameters from the keys `ARCH.rope.*`. All heads are rotated whole. Rounded to single precision where the kernels are,
 * so that logits equal those of llama.cpp. Throws MODEL_UNSUPPORTED for other scalings.
 */
export function ropeParameters(
  metadata: Metadata,
  architecture: string,
  mode: RopeParameters["mode"],
  headDim: number,
): RopeParameters {
  const number = (name: string, fallback: number) =>
    metadata.number(`${architecture}.rope.${name}`, fallback);
  const dimensions = number("dimension_count", headDim);
  if (dimensions !== headDim)
    unsupported(architecture, `${dimensions} of ${headDim} elements of a head are rotated`);
  const type = metadata.string(`${architecture}.rope.scaling.type`, "linear");
  if (type !== "none" && type !== "linear" && type !== "yarn")
    unsupported(architecture, `its rotary scaling is ${JSON.stringify(type)}`);
  const factor = number("scaling.factor", number("scale_linear", 0));
  const scale = type === "none" || factor === 0 ? 1 : Math.fround(1 / factor);
  const base = number("freq_base", 10000);
  if (!(base > 0) || !(scale > 0))
    unsupported(architecture, `its rotary base is ${base} and its scaling factor ${factor}`);
  const magnitude = number("scaling.attn_factor", 1);
  return {
    dimensions,
    mode,
    originalContext: number(
      "scaling.original_context_length",
      metadata.number(`${architecture}.context_length`),
    ),
    base,
    scale,
    extrapolation: type === "yarn" ? 1 : 0,
    attention:
      type === "yarn"
        ? Math.fround(
            yarnMagnitude(Math.fround(1 / scale), number("scaling.yarn_log_multiplier", 0)) *
              magnitude,
          )
        : magnitude,
    betaFast: number("scaling.yarn_beta_fast", 32),
    betaSlow: number("scaling.yarn_beta_slow", 1),
  };
}

/**
 * YaRN's attention factor over the 1 + 0.1 ln(factor) that the kernel multiplies in by itself. `logMultiplier` is the
 * variant with its own magnitude for all dimensions, 0 = plain YaRN.
 */
function yarnMagnitude(factor: number, logMultiplier: number): number {
  const f = Math.fround;
  const magnitude = (multiplier: number) =>
    factor <= 1 ? 1 : f(f(f(f(0.1) * multiplier) * f(Math.log(factor))) + 1);
  const wanted = logMultiplier === 0 ? magnitude(1) : f(magnitude(1) / magnitude(f(logMultiplier)));
  return f(wanted * f(1 / f(1 + f(f(0.1) * f(Math.log(factor))))));
}
