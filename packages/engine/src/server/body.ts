/** Reads request bodies: bounded in bytes, JSON only, and never trusted before it is parsed. */
import { isUtf8 } from "node:buffer";
import type { IncomingMessage } from "node:http";
import { jsonErrorIndex } from "@millrace/core";
import { ApiError, badRequest } from "./api-error.ts";
import { deeperThan, deepestNesting, placeOf } from "./json-place.ts";

const tooLarge = (limitBytes: number) =>
  new ApiError(413, `The request body is larger than the limit of ${limitBytes} bytes.`, {
    code: "request_too_large",
    closes: true,
  });

/** The body's bytes; rejects with 413 beyond `limitBytes` and with 400 when the client hangs up in the middle. */
async function readBytes(incoming: IncomingMessage, limitBytes: number): Promise<Buffer> {
  if (Number(incoming.headers["content-length"] ?? 0) > limitBytes) throw tooLarge(limitBytes);
  return new Promise((resolve, reject) => {
    const parts: Buffer[] = [];
    let bytes = 0;
    const done = (settle: () => void) => {
      incoming.off("data", onData).off("end", onEnd).off("close", onClose);
      settle();
    };
    const onData = (part: Buffer) => {
      bytes += part.length;
      if (bytes > limitBytes) done(() => reject(tooLarge(limitBytes)));
      else parts.push(part);
    };
    const onEnd = () => done(() => resolve(Buffer.concat(parts)));
    const onClose = () =>
      done(() => reject(badRequest("The connection closed before the body was complete.")));
    incoming.on("data", onData).on("end", onEnd).on("close", onClose);
    // An aborted request raises "error" too; "close" follows it and settles.
    incoming.on("error", () => {});
  });
}

/**
 * The body as a JSON object. 415 for other content types: a browser may send text/plain or a form to this address from
 * any page without asking, JSON it may not.
 */
export async function readJsonObject(
  incoming: IncomingMessage,
  limitBytes: number,
): Promise<Record<string, unknown>> {
  const type = (incoming.headers["content-type"] ?? "application/json").split(";")[0] ?? "";
  if (!/^application\/(?:[\w.-]+\+)?json$/i.test(type.trim())) {
    throw new ApiError(
      415,
      `Content-Type is ${JSON.stringify(type.slice(0, 80))}; send application/json.`,
      { code: "unsupported_media_type", closes: true },
    );
  }
  const encoding = incoming.headers["content-encoding"];
  if (encoding !== undefined && encoding !== "identity") {
    throw new ApiError(
      415,
      `Content-Encoding ${JSON.stringify(encoding.slice(0, 80))} is not supported; send the body as it is.`,
      { code: "unsupported_media_type", closes: true },
    );
  }
  const bytes = await readBytes(incoming, limitBytes);
  const value = parseJson(decodeUtf8(bytes));
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw badRequest("The body must be a JSON object.", null, "invalid_json");
  }
  // Deeper values would overflow the stack of whatever walks them: schemas, templates, the answer itself.
  if (deeperThan(value, deepestNesting))
    throw badRequest(
      `The body nests arrays and objects more than ${deepestNesting} deep.`,
      null,
      "invalid_json",
    );
  return value as Record<string, unknown>;
}

function decodeUtf8(bytes: Buffer): string {
  if (isUtf8(bytes)) return new TextDecoder().decode(bytes);
  // Bytes that are no UTF-8 come back as others; the first that differs is the first bad one.
  const again = Buffer.from(bytes.toString("utf8"));
  let at = 0;
  while (at < bytes.length && bytes[at] === again[at]) at++;
  throw badRequest(`The body is not UTF-8: byte ${at} is the first bad one.`, null, "invalid_json");
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    if (text.trim() === "") throw badRequest("The body is empty.", null, "invalid_json");
    const at = jsonErrorIndex(text);
    const found =
      at >= text.length ? "it ends too early" : `unexpected ${JSON.stringify(text[at])}`;
    throw badRequest(
      `The body is not valid JSON: ${found} at ${placeOf(text, at)}.`,
      null,
      "invalid_json",
    );
  }
}
