/** Starting a service, unless one listens already. */
import { rmSync } from "node:fs";
import { connect } from "node:net";
import { dirname, join, resolve } from "node:path";
import { contentHash, MillraceError } from "@millrace/core";
import { makeFolder } from "@millrace/core/node";
import { sharedFolder } from "@millrace/system";
import { openSource } from "../source/open.ts";
import { DataService } from "./service.ts";
import type { ServiceOptions } from "./service-options.ts";

/** Where a service for this data set listens by default. */
export function defaultSocket(path: string, base = sharedFolder()): string {
  return join(base, `data-${contentHash(resolve(path)).slice(0, 12)}.sock`);
}

/** Opens the data set and serves it. Throws MillraceError when something is in the way; see DataService. */
export async function startService(options: ServiceOptions): Promise<DataService> {
  const source = await openSource(options.source);
  const socket = options.socket ?? defaultSocket(options.source.path, options.sharedFolder);
  makeFolder(dirname(socket));
  if (await answers(socket))
    throw new MillraceError("DATA_SERVICE_FAILED", `a service listens on ${socket} already`, {
      hint: "join it, stop it, or choose another socket",
    });
  rmSync(socket, { force: true });
  const service = new DataService(options, source, socket);
  try {
    await service.listen();
  } catch (cause) {
    await service[Symbol.asyncDispose]();
    throw new MillraceError("DATA_SERVICE_FAILED", `${socket} cannot be listened on`, { cause });
  }
  return service;
}

function answers(socket: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect(socket);
    const done = (is: boolean) => () => {
      probe.destroy();
      resolve(is);
    };
    probe.once("connect", done(true));
    probe.once("error", done(false));
  });
}
