/** The log of requests: one JSON line each. */
import { type Logger, pino } from "pino";

/** A logger that gives whole lines to `write`. */
export function requestLogger(write: (line: string) => void): Logger {
  return pino({ base: null, timestamp: pino.stdTimeFunctions.isoTime }, { write });
}
