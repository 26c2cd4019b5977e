import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { bytesModule, kernels } from "../tools/wat.ts";

/** The base64 text in a module, whatever its layout. */
const code = (text: string): string =>
  [...text.matchAll(/"([A-Za-z0-9+/=]+)",?/g)].map((match) => match[1]).join("");

test.each(kernels)("%s: the bytes checked in are its own", (wat, module) => {
  const read = (path: string): string =>
    readFileSync(new URL(`../${path}`, import.meta.url), "utf8");
  expect(code(read(module))).toBe(code(bytesModule(read(wat))));
});
