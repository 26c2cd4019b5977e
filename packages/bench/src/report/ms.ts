/** Milliseconds as people read them. */
import { writeNumber } from "@millrace/report";

export const ms = (value: number): string => writeNumber(value / 1000, "seconds");
