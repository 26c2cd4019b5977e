/**
 * Refreshes shortlists in a thread while training goes on with the old ones. What comes back belongs to the vectors as they were
 * when it was asked for; the caller takes it at a fixed place, so that runs repeat to the byte however long the search took.
 */
import type { Worker } from "node:worker_threads";
import { InvariantError } from "@millrace/core";
import { startThread } from "@millrace/core/node";
import type { Csr } from "../data/csr.ts";
import type { Split } from "../data/dataset.ts";
import type { Model, ModelShape } from "../model/model.ts";
import type { Earlier, ShortlistOptions, Shortlists } from "./shortlists.ts";

export interface RefresherData {
  readonly shape: ModelShape;
  readonly bias: number;
  readonly features: Csr;
  readonly labels: Csr;
  readonly filter: Csr | null;
  readonly options: ShortlistOptions;
}
/** The matrices of the model, by name. */
export interface ToRefresher {
  readonly embedding: Float32Array;
  readonly classifier: Float32Array | Uint16Array;
  readonly down: Float32Array | null;
  readonly up: Float32Array | null;
  readonly earlier: Earlier;
}
export type FromRefresher =
  | { readonly ok: true; readonly lists: Shortlists; readonly seconds: number }
  | { readonly ok: false; readonly error: string };

/** Lists with the seconds that the thread was at work. */
export interface Refreshed {
  readonly lists: Shortlists;
  readonly seconds: number;
}

/** How a promise is settled. */
interface Settle {
  readonly resolve: (done: Refreshed) => void;
  readonly reject: (error: Error) => void;
}

const program = new URL(
  import.meta.url.endsWith(".ts") ? "./refresh-worker.ts" : "./refresh-worker.js",
  import.meta.url,
);

export class Refresher implements AsyncDisposable {
  readonly #worker: Worker;
  #settle: Settle | null = null;

  constructor(model: Model, split: Split, options: ShortlistOptions) {
    const { vocabulary, labels, dim, encoder, precision, bias } = model;
    this.#worker = startThread(program, {
      shape: { vocabulary, labels, dim, encoder, precision },
      bias,
      features: split.features,
      labels: split.labels,
      filter: split.filter,
      options: {
        shortlist: options.shortlist,
        index: options.index,
        indexRecall: options.indexRecall,
        ...(options.indexShare === undefined ? {} : { indexShare: options.indexShare }),
      },
    } satisfies RefresherData);
    // A thread that nobody waits for does not keep the process.
    this.#worker.unref();
    this.#worker.on("message", (message: FromRefresher) => {
      if (message.ok) this.#end((settle) => settle.resolve(message));
      else
        this.#end((settle) =>
          settle.reject(new Error(`refreshing the shortlists failed: ${message.error}`)),
        );
    });
    this.#worker.on("error", (error) => this.#end((settle) => settle.reject(error as Error)));
  }

  #end(how: (settle: Settle) => void): void {
    const settle = this.#settle;
    this.#settle = null;
    this.#worker.unref();
    if (settle !== null) how(settle);
  }

  /** Copies the model and searches with the copy. One at a time. */
  start(model: Model, earlier: Earlier): Promise<Refreshed> {
    if (this.#settle !== null) throw new InvariantError("a refresh is under way");
    const copies: ToRefresher = {
      embedding: model.embedding.view.slice(),
      classifier: model.classifier.view.slice(),
      down: model.residual?.down.view.slice() ?? null,
      up: model.residual?.up.view.slice() ?? null,
      earlier,
    };
    return new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
      this.#worker.ref();
      this.#worker.postMessage(copies);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#worker.terminate();
  }
}
