export { type MonetRow, monetRows, reproduceMonet } from "./monet.ts";
