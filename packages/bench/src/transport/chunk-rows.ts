/** The rows of one stream while it grows: what each chunk brought, before anyone decides how many tokens that was. */

/** Columns as a worker sends them; all of one length. -1 in a count = the chunk does not say. */
export interface RawColumns {
  readonly timeUs: Float64Array;
  readonly chars: Int32Array;
  readonly choice: Uint16Array;
  readonly kind: Uint8Array;
  /** Token ids in the chunk. */
  readonly ids: Int32Array | null;
  /** logprobs entries in the chunk. */
  readonly logprobs: Int32Array | null;
  /** Cumulative completion_tokens of the chunk's own usage. */
  readonly usage: Int32Array | null;
  readonly serverUs: Float64Array | null;
  /** Number of the event in the stream, from 0, where the server was asked for its times. */
  readonly event: Int32Array | null;
}

/** What a chunk says about one choice. */
export interface ChunkRow {
  timeUs: number;
  chars: number;
  choice: number;
  kind: number;
  ids: number;
  logprobs: number;
  usage: number;
  serverUs: number;
  event: number;
}

/** Growing columns: plain arrays while open (streams are many and mostly short), typed when sealed. */
export class ChunkRows {
  private readonly timeUs: number[] = [];
  private readonly chars: number[] = [];
  private readonly choice: number[] = [];
  private readonly kind: number[] = [];
  private ids: number[] | null = null;
  private logprobs: number[] | null = null;
  private usage: number[] | null = null;
  private serverUs: number[] | null = null;
  private event: number[] | null = null;

  get length(): number {
    return this.timeUs.length;
  }

  add(row: ChunkRow): void {
    const before = this.timeUs.length;
    this.timeUs.push(row.timeUs);
    this.chars.push(row.chars);
    this.choice.push(row.choice);
    this.kind.push(row.kind);
    this.ids = appended(this.ids, row.ids, before);
    this.logprobs = appended(this.logprobs, row.logprobs, before);
    this.usage = appended(this.usage, row.usage, before);
    this.serverUs = appended(this.serverUs, row.serverUs, before);
    this.event = appended(this.event, row.event, before);
  }

  seal(): RawColumns {
    return {
      timeUs: Float64Array.from(this.timeUs),
      chars: Int32Array.from(this.chars),
      choice: Uint16Array.from(this.choice),
      kind: Uint8Array.from(this.kind),
      ids: this.ids && Int32Array.from(this.ids),
      logprobs: this.logprobs && Int32Array.from(this.logprobs),
      usage: this.usage && Int32Array.from(this.usage),
      serverUs: this.serverUs && Float64Array.from(this.serverUs),
      event: this.event && Int32Array.from(this.event),
    };
  }
}

/** Columns that most servers never fill exist only from their first value on. */
function appended(column: number[] | null, value: number, before: number): number[] | null {
  if (column === null) {
    if (value < 0) return null;
    const made = new Array<number>(before).fill(-1);
    made.push(value);
    return made;
  }
  column.push(value);
  return column;
}
