export { reproduceAstra } from "./astra.ts";
