/** The files of a run. Each appears complete or not at all. */
import { join } from "node:path";
import { AtomicFileStream, writeFileAtomic } from "@millrace/core/node";
import { formatRequestsCsv } from "@millrace/serving";
import type { SimulationResult } from "@millrace/sim";
import { version } from "../program/version.ts";
import { writeTrace } from "./trace.ts";

/** Which files are wanted; absent = not. */
export interface ResultFiles {
  readonly out?: string;
  readonly report?: string;
  readonly chromeTrace?: string;
}

/** Where a run came from, for the report. */
export interface Provenance {
  readonly command: string;
  readonly configText: string;
  readonly workload: string;
}

/** Writes what is wanted and returns the paths. Throws OUTPUT_UNWRITABLE. */
export async function writeResults(
  files: ResultFiles,
  result: SimulationResult,
  summary: object,
  provenance: Provenance,
): Promise<readonly string[]> {
  const { out } = files;
  const written: string[] = [];
  const write = (path: string, action: (path: string) => void) => {
    action(path);
    written.push(path);
  };
  const traces = [files.chromeTrace, out && join(out, "trace.json")];
  const reports = [files.report, out && join(out, "report.html")].filter(
    (path) => path !== undefined,
  );
  // The report is made before the first file appears: it is the part that could fail for a reason of its own.
  const html = reports.length === 0 ? "" : await reportOf(result, provenance);
  if (out !== undefined) {
    write(join(out, "requests.csv"), (path) => writeRequests(path, result));
    write(join(out, "summary.json"), (path) =>
      writeFileAtomic(path, `${JSON.stringify(summary, null, 2)}\n`),
    );
  }
  for (const path of traces) if (path !== undefined) write(path, (at) => writeTrace(at, result));
  for (const path of reports) write(path, (at) => writeFileAtomic(at, html));
  return written;
}

function writeRequests(path: string, { requests, perRequest }: SimulationResult): void {
  using file = new AtomicFileStream(path);
  for (const piece of formatRequestsCsv(requests, perRequest)) file.write(piece);
  file.commit();
}

async function reportOf(result: SimulationResult, provenance: Provenance): Promise<string> {
  const { renderReport, simulationReport } = await import("@millrace/report");
  const context = {
    command: provenance.command,
    version,
    configText: provenance.configText,
    facts: [{ label: "workload", value: provenance.workload }],
  };
  return renderReport(simulationReport({ run: result, context }));
}
