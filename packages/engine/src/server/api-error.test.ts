import { MillraceError } from "@millrace/core";
import { expect, it } from "vitest";
import { toApiError } from "./api-error.ts";

it("blames the client for bad input only, and keeps the words of failures of the machine", () => {
  const seen = (
    ["CONFIG_INVALID", "SCHEMA_UNSUPPORTED", "ENGINE_FAILED", "SYSTEM_CALL_FAILED"] as const
  ).map((code) => toApiError(new MillraceError(code, "open /secret/path", { hint: "look" })));
  expect(seen.map((one) => one.status)).toEqual([400, 400, 503, 500]);
  expect(seen[0].message).toBe("Open /secret/path. Look.");
  expect(seen[2].headers["retry-after"]).toBe("1");
  expect(seen[3].message).not.toContain("secret");
  expect(toApiError(new Error("secret"))).toMatchObject({
    status: 500,
    detail: { code: "internal_error" },
  });
});
