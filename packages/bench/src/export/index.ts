export { chunksCsv, requestsCsv } from "./csv.ts";
export { chunksParquet, requestsParquet } from "./parquet.ts";
export { liveMetrics, reportMetrics } from "./prometheus.ts";
