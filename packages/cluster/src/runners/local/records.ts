/**
 * What the local runner keeps on disk: a folder per job, in it one per attempt. Every file is written once and appears
 * complete (or by link, so that only one writer wins), so a reader at any moment sees a state that was true:
 *
 *   jobs/ID/job.json       the job as submitted          jobs/ID/removed   it shall be forgotten
 *   jobs/ID/N/order.json   what attempt N was granted    jobs/ID/N/claim   who keeps it: a keeper, or nobody ever
 *   jobs/ID/N/child.json   the program's process         jobs/ID/N/stop    it was asked to stop, and when
 *   jobs/ID/N/grant.json   what it was granted since     jobs/ID/N/exit.json   how it ended
 *   jobs/ID/group-N.json   where its control groups are
 */
import {
  closeSync,
  constants,
  fstatSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import type { ProcessIdentity } from "@millrace/system/processes";
import type { GrantedSlice, Outcome, RunnerJob } from "../runner.ts";

/** What an attempt was started with. */
export interface AttemptOrder {
  readonly job: RunnerJob;
  readonly slice: GrantedSlice;
  /** Cores that it is pinned to; null under a quota. */
  readonly cores: readonly number[] | null;
  /** All variables of the program. */
  readonly environment: Readonly<Record<string, string>>;
}

/** What an attempt is granted now. */
export type AttemptGrant = Pick<AttemptOrder, "slice" | "cores">;

/** Nobody ever keeps the attempt: its scheduler ended before the start was certain. */
export const nobody = { nobody: true } as const;

/** Who keeps an attempt. */
export type Claim = ProcessIdentity | typeof nobody;

/** Records are small; a job's user may write into its own, so readers take no more than this. */
const mostBytes = 1 << 20;

/** Folder of a job. */
export const jobFolder = (state: string, id: string): string => join(state, "jobs", id);

/** Folder of an attempt. */
export const attemptFolder = (state: string, id: string, attempt: number): string =>
  join(jobFolder(state, id), String(attempt));

/** Ids of the jobs there are. */
export function jobIds(state: string): readonly string[] {
  return list(join(state, "jobs"));
}

/** The last attempt of a job, 0 when there is none. */
export function lastAttempt(state: string, id: string): number {
  let last = 0;
  for (const name of list(jobFolder(state, id)))
    if (/^\d+$/.test(name)) last = Math.max(last, Number(name));
  return last;
}

/** The record's content, or null when it is absent or not complete JSON. Links are not followed. */
export function readRecord<T>(folder: string, name: string): T | null {
  let file: number;
  try {
    file = openSync(join(folder, name), constants.O_RDONLY | constants.O_NOFOLLOW);
  } catch {
    return null;
  }
  try {
    const bytes = Buffer.alloc(Math.min(mostBytes, fstatSync(file).size));
    const length = readSync(file, bytes, 0, bytes.length, 0);
    return JSON.parse(bytes.toString("utf8", 0, length)) as T;
  } catch {
    return null;
  } finally {
    closeSync(file);
  }
}

/** Writes a record, complete and durable, over what was there. */
export function writeRecord(folder: string, name: string, value: object): void {
  const temporary = join(folder, `.${name}.${process.pid}`);
  writeFileSync(temporary, JSON.stringify(value), { flush: true });
  renameSync(temporary, join(folder, name));
}

/** Makes the claim unless there is one; false when somebody was first. */
export function claimAttempt(folder: string, claim: Claim): boolean {
  const temporary = join(folder, `.claim.${process.pid}`);
  writeFileSync(temporary, JSON.stringify(claim), { flush: true });
  try {
    linkSync(temporary, join(folder, "claim"));
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  } finally {
    rmSync(temporary, { force: true });
  }
}

/** Makes the folder of an attempt; false when it is there already: the attempt was ordered before. */
export function makeAttempt(state: string, id: string, attempt: number): boolean {
  try {
    mkdirSync(attemptFolder(state, id, attempt), { mode: 0o700 });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  }
}

/** What the records say of an attempt. */
export interface AttemptRecords {
  readonly order: AttemptOrder | null;
  readonly grant: AttemptGrant | null;
  readonly claim: Claim | null;
  readonly child: ProcessIdentity | null;
  readonly stop: { readonly at: number } | null;
  readonly exit: Outcome | null;
}

/** Reads an attempt; `exit` last, so that a keeper that is gone by then has written it. */
export function readAttempt(folder: string): AttemptRecords {
  const order = readRecord<AttemptOrder>(folder, "order.json");
  return {
    order,
    grant: readRecord<AttemptGrant>(folder, "grant.json") ?? order,
    claim: readRecord<Claim>(folder, "claim"),
    child: readRecord<ProcessIdentity>(folder, "child.json"),
    stop: readRecord<{ at: number }>(folder, "stop"),
    exit: readRecord<Outcome>(folder, "exit.json"),
  };
}

function list(folder: string): readonly string[] {
  try {
    return readdirSync(folder).filter((name) => !name.startsWith("."));
  } catch {
    return [];
  }
}
