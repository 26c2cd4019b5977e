/**
 * GET and POST /admin/scheduler. A switch stops the intake for as long as running requests take, so an API key does not
 * allow it: it needs an admin key, or, where none is set, a client on this machine without a proxy between.
 */
import { z } from "zod";
import { readJsonObject } from "./body.ts";
import { checkReady, type Handler } from "./context.ts";
import { parseFields } from "./fields.ts";

const shape = z.object({
  type: z.string().min(1).max(100),
  parameters: z.record(z.string(), z.unknown()).default({}),
  timeout_seconds: z.number().min(0).max(3600).optional(),
});

/** The scheduler that plans now. */
export const scheduler: Handler = async (exchange, { client }) => {
  exchange.json(200, { type: (await client.stats()).scheduler });
};

/** Lets running requests end, up to the timeout, and switches. Requests that come meanwhile get 503. */
export const switchScheduler: Handler = async (exchange, context) => {
  checkReady(context);
  const body = await readJsonObject(exchange.incoming, context.options.maxBodyBytes);
  const { fields, ignored } = parseFields(shape, body);
  exchange.warnIgnored(ignored);
  const { client } = context;
  const { timeout_seconds: timeoutSeconds } = fields;
  await client.switchScheduler(fields.type, {
    ...fields.parameters,
    ...(timeoutSeconds === undefined ? {} : { timeoutSeconds }),
  });
  exchange.json(200, { type: (await client.stats()).scheduler });
};
