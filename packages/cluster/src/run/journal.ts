/**
 * The scheduler's journal: what was decided and what was seen, a JSON object a line. A line is on the device before anybody
 * acts on it, so whatever happened outside was written here first. The last line may be torn by a crash; it never counted.
 */
import {
  closeSync,
  existsSync,
  fdatasyncSync,
  openSync,
  readFileSync,
  truncateSync,
  writeSync,
} from "node:fs";
import { MillraceError } from "@millrace/core";
import type { Doubt, Observation } from "../profile/refine.ts";
import type { EngineTerms } from "../runners/engine.ts";
import type { GrantedSlice, Outcome, RunnerJob } from "../runners/runner.ts";
import type { JobEntry } from "./jobs-file.ts";

/** How a job's story ended. */
export type Verdict = "done" | "failed" | "cancelled" | "rejected";

/** How a job's story ended, where the event ends it: on one line, so that no crash comes between the two. */
interface WithVerdict {
  readonly verdict: Verdict | null;
  readonly reason: string;
}

/** What a line may say; `at` is Unix time in seconds. */
export type JournalEvent = { readonly at: number } & (
  | {
      readonly kind: "opened";
      readonly fence: number;
      readonly pid: number;
      readonly on: string;
      /** Absent in journals of before it was kept. */
      readonly engine?: EngineTerms;
    }
  | ({ readonly kind: "arrived"; readonly entry: JobEntry; readonly job: RunnerJob } & WithVerdict)
  | {
      readonly kind: "ordered";
      readonly id: string;
      readonly attempt: number;
      readonly slices: readonly GrantedSlice[];
      readonly speed: number;
    }
  | {
      readonly kind: "resized";
      readonly id: string;
      readonly slices: readonly GrantedSlice[];
      readonly speed: number;
    }
  | { readonly kind: "fixed"; readonly id: string }
  | { readonly kind: "asked"; readonly id: string; readonly reason: string }
  | {
      readonly kind: "progress";
      readonly id: string;
      readonly step: number;
      readonly samples: number;
    }
  /** A stretch of a job's running, and why it is not believed; null when it is. */
  | {
      readonly kind: "observed";
      readonly id: string;
      readonly observation: Observation;
      readonly doubt: Doubt | null;
    }
  | {
      readonly kind: "checkpointed";
      readonly id: string;
      readonly step: number;
      readonly dir: string;
      readonly samples: number;
    }
  | ({
      readonly kind: "ended";
      readonly id: string;
      readonly attempt: number;
      readonly outcome: Outcome;
      readonly as: "complete" | "stopped" | "failure" | "lost";
    } & WithVerdict)
  | {
      readonly kind: "finished";
      readonly id: string;
      readonly verdict: Verdict;
      readonly reason: string;
    }
  | { readonly kind: "cancel"; readonly id: string }
  | { readonly kind: "drain"; readonly server: string | null; readonly on: boolean }
);

/** Events of a journal file, and the length of what is whole; [] when there is none. */
export function readJournal(path: string): {
  readonly events: readonly JournalEvent[];
  readonly bytes: number;
} {
  if (!existsSync(path)) return { events: [], bytes: 0 };
  const text = bytesOf(path);
  const end = text.lastIndexOf(10) + 1;
  const lines = text.subarray(0, end).toString("utf8").split("\n");
  lines.pop();
  const events = lines.map((line, i) => {
    try {
      return JSON.parse(line) as JournalEvent;
    } catch (cause) {
      throw new MillraceError("JOURNAL_INVALID", "a line of the scheduler's journal is damaged", {
        at: { file: path, line: i + 1 },
        cause,
        hint: "restore the file, or move it away and cancel what still runs by hand",
      });
    }
  });
  return { events, bytes: end };
}

function bytesOf(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (cause) {
    throw new MillraceError("FILE_UNREADABLE", `${path} cannot be read: ${cause}`, {
      cause,
      hint: "a scheduler's journal is its user's alone; that user and root read it",
    });
  }
}

/** Appends to a journal. One writer: whoever holds the scheduler's lock. */
export class Journal implements Disposable {
  private readonly file: number;

  /** Opens at the end of what is whole; a torn line behind it is cut off. */
  constructor(path: string, wholeBytes: number) {
    if (existsSync(path)) truncateSync(path, wholeBytes);
    this.file = openSync(path, "a", 0o600);
  }

  /** Resolved on return: the events are on the device. */
  write(events: readonly JournalEvent[]): void {
    if (events.length === 0) return;
    const bytes = Buffer.from(events.map((event) => `${JSON.stringify(event)}\n`).join(""));
    for (let at = 0; at < bytes.length; ) at += writeSync(this.file, bytes, at);
    fdatasyncSync(this.file);
  }

  [Symbol.dispose](): void {
    closeSync(this.file);
  }
}
