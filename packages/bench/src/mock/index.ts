export type { MockOptions } from "./options.ts";
export { startMockProcess } from "./process.ts";
export { type MockServer, startMock } from "./server.ts";
