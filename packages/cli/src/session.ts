/** What a command may do to the outside: print results, say things, show progress, wait for Ctrl-C. */
import { MillraceError } from "@millrace/core";
import { type Paint, painted, unpainted, wantsColour } from "./ui/paint.ts";
import { Progress } from "./ui/progress.ts";

/** Flags that every command has. */
export interface GlobalFlags {
  readonly json?: boolean;
  readonly quiet?: boolean;
  readonly verbose?: boolean;
  readonly debug?: boolean;
  /** False with --no-color. */
  readonly color?: boolean;
}

/** A stream as far as a session uses it. */
export interface OutputStream {
  readonly isTTY?: boolean;
  readonly columns?: number;
  readonly rows?: number;
  write(text: string): boolean;
}

/** Where a session lives. */
export interface Surroundings {
  readonly stdout: OutputStream;
  readonly stderr: OutputStream;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Milliseconds that only grow. */
  readonly now: () => number;
}

/** One invocation of the program. Results go to stdout, everything else to stderr. */
export class Session {
  readonly json: boolean;
  readonly paint: Paint;
  /** Colours of stderr. */
  readonly paintNote: Paint;
  readonly surroundings: Surroundings;
  private readonly quiet: boolean;
  private readonly verbose: boolean;
  private readonly progresses = new Set<Progress>();

  constructor(surroundings: Surroundings, flags: GlobalFlags) {
    const { stdout, stderr, environment } = surroundings;
    const allowed = flags.color !== false;
    const paintOf = (stream: OutputStream) =>
      allowed && wantsColour(stream.isTTY === true, environment) ? painted : unpainted;
    this.surroundings = surroundings;
    this.json = flags.json === true;
    this.quiet = flags.quiet === true;
    this.verbose = flags.verbose === true;
    this.paint = paintOf(stdout);
    this.paintNote = paintOf(stderr);
  }

  /** A session that tells nobody anything, for work within other work. */
  static silent(): Session {
    const nowhere = { write: () => true };
    return new Session(
      {
        ...{ stdout: nowhere, stderr: nowhere, environment: { CI: "1" } },
        now: () => performance.now(),
      },
      { quiet: true },
    );
  }

  /** Cells of a line of stdout; Infinity when it is not a terminal, so that piped tables are whole. */
  get width(): number {
    const { isTTY, columns } = this.surroundings.stdout;
    return isTTY === true ? columns || 80 : Number.POSITIVE_INFINITY;
  }

  /** Lines of stdout; Infinity when it is not a terminal. */
  get height(): number {
    const { isTTY, rows } = this.surroundings.stdout;
    return isTTY === true ? rows || 24 : Number.POSITIVE_INFINITY;
  }

  /** A result. */
  print(lines: string | readonly string[]): void {
    this.clearProgress();
    const text = typeof lines === "string" ? lines : lines.join("\n");
    this.surroundings.stdout.write(`${text}\n`);
  }

  /** The one object of --json, in full precision; NaN and infinities become null. */
  printJson(value: object): void {
    this.print(JSON.stringify(value));
  }

  /** A remark on stderr; silent with --quiet and --json. */
  note(text: string): void {
    if (!this.quiet && !this.json) this.write(text);
  }

  /** A remark for --verbose. */
  detail(text: string): void {
    if (this.verbose && !this.quiet) this.write(this.paintNote("faint", text));
  }

  /** Something that is probably not meant; silent with --quiet only. */
  warn(text: string): void {
    if (!this.quiet) this.write(`${this.paintNote("warning", "warning")} ${text}`);
  }

  /** Progress of a long job; call `end` when it is over. */
  progress(): Progress {
    const { stderr, environment, now } = this.surroundings;
    const live = stderr.isTTY === true && environment.CI === undefined;
    const progress = new Progress({
      mode: this.quiet ? "off" : live && environment.TERM !== "dumb" ? "live" : "lines",
      // A terminal that does not know its size says 0.
      width: () => stderr.columns || 80,
      write: (text) => stderr.write(text),
      paint: this.paintNote,
      now,
    });
    this.progresses.add(progress);
    return progress;
  }

  /**
   * Runs `work` with a signal that the first Ctrl-C (or SIGTERM) aborts; a second one ends the program at once. What
   * `work` returns after an abort is a partial result, which it says and keeps itself.
   */
  async interruptible<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const controller = new AbortController();
    const stop = (): void => {
      if (controller.signal.aborted) process.exit(130);
      this.write("stopping after the runs in progress; press Ctrl-C again to stop at once");
      controller.abort(new MillraceError("INTERRUPTED", "interrupted"));
    };
    process.on("SIGINT", stop);
    process.on("SIGTERM", stop);
    try {
      return await work(controller.signal);
    } finally {
      process.off("SIGINT", stop);
      process.off("SIGTERM", stop);
      for (const progress of this.progresses) progress.end();
    }
  }

  private write(text: string): void {
    this.clearProgress();
    this.surroundings.stderr.write(`${text}\n`);
  }

  private clearProgress(): void {
    for (const progress of this.progresses) progress.clear();
  }
}
