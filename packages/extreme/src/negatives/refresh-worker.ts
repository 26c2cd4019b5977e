/** The thread that refreshes shortlists beside training: it has matrices of its own, filled from a copy at each refresh. */
import { parentPort, workerData } from "node:worker_threads";
import { errorText } from "@millrace/core";
import { Heap } from "../kernels/heap.ts";
import { createModel, loadRows } from "../model/model.ts";
import type { FromRefresher, RefresherData, ToRefresher } from "./refresher.ts";
import { notNegatives, refreshShortlists } from "./shortlists.ts";

const data = workerData as RefresherData;
const heap = new Heap();
const model = createModel(heap, data.shape, data.bias, null);
const rows = loadRows(heap, data.features);
const excluded = notNegatives(data.labels, data.filter);

parentPort?.on("message", (snapshot: ToRefresher) => {
  const start = performance.now();
  model.embedding.view.set(snapshot.embedding);
  model.classifier.view.set(snapshot.classifier);
  if (snapshot.down !== null) model.residual?.down.view.set(snapshot.down);
  if (snapshot.up !== null) model.residual?.up.view.set(snapshot.up);
  const answer = (message: FromRefresher): void => parentPort?.postMessage(message);
  refreshShortlists(model, rows, data.options, excluded, snapshot.earlier).then(
    (lists) => answer({ ok: true, lists, seconds: (performance.now() - start) / 1e3 }),
    (error) => answer({ ok: false, error: errorText(error) }),
  );
});
