export {
  type Carries,
  lostIn,
  recogniseTrace,
  type TraceFormat,
  traceFormat,
  traceFormatNames,
  traceFormats,
} from "./format.ts";
export { TRACE_SCHEMA } from "./millrace.ts";
export {
  type LengthFigures,
  type TraceFigures,
  type TraceTransform,
  traceFigures,
  transformTrace,
} from "./transform.ts";
