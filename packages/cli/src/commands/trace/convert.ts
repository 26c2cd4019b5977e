/** `millrace trace convert` and `millrace trace inspect`. */
import {
  lostIn,
  recogniseTrace,
  type TraceFigures,
  traceFigures,
  traceFormat,
  transformTrace,
} from "@millrace/bench/traces";
import { formatNumber, formatPercent, formatSeconds, parseSeconds } from "@millrace/core";
import { AtomicFileStream, readTextFile } from "@millrace/core/node";
import type { Session } from "../../session.ts";
import { formatWhole } from "../../ui/numbers.ts";
import { facts } from "../../ui/table.ts";

type Flags = Readonly<Record<string, unknown>>;

function open(file: string, flags: Flags) {
  const text = readTextFile(file);
  const format =
    flags.from === undefined ? recogniseTrace(text, file) : traceFormat(String(flags.from));
  const seconds = (name: string): number | undefined =>
    flags[name] === undefined ? undefined : parseSeconds(String(flags[name]), `--${name}`);
  const [start, end] = [seconds("start"), seconds("end")];
  const trace = transformTrace(format.read(text, file), {
    ...(start !== undefined && { from: start }),
    ...(end !== undefined && { to: end }),
    ...(flags.speed !== undefined && { speed: flags.speed as number }),
    ...(flags.requests !== undefined && { requests: flags.requests as number }),
  });
  return { format, trace };
}

export function convertCommand(
  session: Session,
  [from, to]: readonly [string, string],
  flags: Flags,
): number {
  const { format, trace } = open(from, flags);
  const target = traceFormat(String(flags.to ?? "millrace"));
  const lost = lostIn(trace, target);
  const figures = traceFigures(trace);
  using file = new AtomicFileStream(to);
  for (const piece of target.write(trace)) file.write(piece);
  file.commit();
  for (const what of lost) session.warn(what);
  if (session.json)
    session.printJson({
      schema: "millrace.trace-convert/1",
      from: format.name,
      to: target.name,
      lost,
      ...figures,
    });
  else session.print(lines(session, figures, `${format.name} to ${target.name}`));
  session.note(`wrote ${to}`);
  return 0;
}

export function inspectCommand(session: Session, file: string, flags: Flags): number {
  const { format, trace } = open(file, flags);
  const figures = traceFigures(trace);
  if (session.json)
    session.printJson({ schema: "millrace.trace-inspect/1", format: format.name, ...figures });
  else session.print(lines(session, figures, format.name));
  return 0;
}

function lines({ paint }: Session, figures: TraceFigures, format: string): readonly string[] {
  const { requests, seconds, qps, cv, prompt, output, sharedPrefix, sessions } = figures;
  const lengths = ({ mean, p50, p90, p99, max }: TraceFigures["prompt"]): string =>
    `${formatNumber(mean)} tokens on average; p50 ${formatWhole(p50)}, p90 ${formatWhole(Math.round(p90))}, p99 ${formatWhole(Math.round(p99))}, max ${formatWhole(max)}`;
  return facts(
    [
      ["format", format],
      [
        "requests",
        `${formatWhole(requests)}${sessions === null ? "" : ` in ${formatWhole(sessions)} sessions`}`,
      ],
      [
        "arrivals",
        seconds === null || qps === null
          ? "none: lengths alone"
          : `${formatNumber(qps)} per second over ${formatSeconds(seconds)}${cv === null ? "" : `, CV ${formatNumber(cv)} (Poisson: 1)`}`,
      ],
      ["prompts", lengths(prompt)],
      ["answers", lengths(output)],
      ...(sharedPrefix === null
        ? []
        : [
            [
              "shared prefixes",
              `${formatPercent(sharedPrefix)} of the prompt tokens were in an earlier prompt`,
            ] as const,
          ]),
    ],
    { paint },
  );
}
