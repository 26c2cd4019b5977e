/** Prepares samples one after the other on this thread: what a preparation thread and a producer process both do. */
import { type Area, AreaViews } from "../batch/area.ts";
import { sampleBytes } from "../batch/batch.ts";
import { makeTransform } from "./make-transform.ts";
import type { PrepResult, PrepTask, WorkerSetup } from "./protocol.ts";
import { unpack } from "./records.ts";
import type { Transform } from "./transform.ts";

export class Preparer implements Disposable {
  private readonly setup: WorkerSetup;
  private readonly transform: Transform;
  private readonly areas: Area[] = [];
  private readonly views = new AreaViews();
  private readonly outBytes: number;

  private constructor(setup: WorkerSetup, transform: Transform) {
    this.setup = setup;
    this.transform = transform;
    this.outBytes = sampleBytes(transform.spec);
  }

  /** Throws MillraceError when the transform cannot be made. */
  static async open(setup: WorkerSetup): Promise<Preparer> {
    return new Preparer(setup, await makeTransform(setup.transform));
  }

  setArea(number: number, area: Area): void {
    this.areas[number] = area;
  }

  /** Never rejects: a bad sample is a result. */
  async prepare(task: PrepTask): Promise<PrepResult> {
    const { id, seed, epoch, item } = task;
    try {
      const bytes = this.views.bytes(this.areas[task.area] as Area, task.offset, task.bytes);
      const { payload, label } = unpack(this.setup.codec, bytes, task.label);
      const out = this.views.bytes(this.areas[task.outArea] as Area, task.outOffset, this.outBytes);
      const pending = this.transform.apply(payload, out, { seed, epoch, item, label });
      if (pending !== undefined) await pending;
      return { id, label };
    } catch (error) {
      return {
        id,
        label: task.label,
        error: error instanceof Error ? error.message : String(error),
      };
    }
  }

  [Symbol.dispose](): void {
    this.transform.close?.();
    this.views[Symbol.dispose]();
  }
}
