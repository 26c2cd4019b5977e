export { reproduceMetron } from "./metron.ts";
