/** The HTTP side of the fake API server: paths, verbs, selectors, pages, watches, and faults on demand. */
import http from "node:http";
import type { AddressInfo } from "node:net";
import { isDeepStrictEqual } from "node:util";
import { quantity } from "../objects.ts";
import { jsonPatch, mergePatch } from "./patch.conformance.ts";
import { checkFields, checkJobUpdate, checkResources, checkValues } from "./schema.conformance.ts";
import { type ResourceName, StatusError, type Store, type Stored } from "./store.conformance.ts";

/** What goes wrong with the next requests that match. */
export interface Fault {
  readonly method?: string;
  readonly path: RegExp;
  /** `hang`: no answer. `drop`: the connection ends before the work. `lost`: it ends after the work. A number: that status. */
  readonly how: "hang" | "drop" | "lost" | number;
  times: number;
}

/** What a version of Kubernetes offers. */
export interface Offers {
  /** Resources of suspended Jobs may change (1.36). */
  readonly mutableResources: boolean;
  /** pods/resize (1.33). */
  readonly resize: boolean;
}

const kinds: Readonly<Record<ResourceName, string>> = {
  nodes: "Node",
  pods: "Pod",
  jobs: "Job",
  configmaps: "ConfigMap",
};
const reasons: Readonly<Record<number, string>> = {
  401: "Unauthorized",
  403: "Forbidden",
  404: "NotFound",
  409: "Conflict",
  410: "Expired",
  429: "TooManyRequests",
  500: "InternalError",
  503: "ServiceUnavailable",
};
const route =
  /^\/(?:api\/v1|apis\/batch\/v1)(?:\/namespaces\/([^/]+))?\/(nodes|pods|jobs|configmaps)(?:\/([^/]+)(?:\/(status|resize))?)?$/;

/** An API server over a store; the token must be in every request. */
export class FakeApiServer implements AsyncDisposable {
  readonly faults: Fault[] = [];
  readonly requests: string[] = [];
  private readonly store: Store;
  private readonly offers: Offers;
  private readonly token: string;
  private readonly server: http.Server;
  private readonly streams = new Set<http.ServerResponse>();

  constructor(store: Store, offers: Offers, token: string) {
    this.store = store;
    this.offers = offers;
    this.token = token;
    this.server = http.createServer((request, response) => void this.serve(request, response));
  }

  async listen(): Promise<string> {
    await new Promise<void>((resolve) => this.server.listen(0, "127.0.0.1", resolve));
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  /** Ends all watches, as a server that is restarted does. */
  endStreams(): void {
    for (const stream of this.streams) stream.destroy();
  }

  get watches(): number {
    return this.streams.size;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private async serve(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    const url = new URL(request.url ?? "/", "http://fake");
    const method = request.method ?? "GET";
    this.requests.push(`${method} ${url.pathname}`);
    let text = "";
    for await (const part of request) text += String(part);
    const fault = this.faults.find(
      (f) => f.times > 0 && (f.method ?? method) === method && f.path.test(url.pathname),
    );
    if (fault !== undefined) fault.times--;
    if (fault?.how === "hang") return;
    if (fault?.how === "drop") {
      request.socket.destroy();
      return;
    }
    try {
      if (typeof fault?.how === "number")
        throw new StatusError(fault.how, reasons[fault.how] ?? "", "as the test wants it");
      if (request.headers.authorization !== `Bearer ${this.token}`)
        throw new StatusError(401, "Unauthorized", "Unauthorized");
      const answer = this.answer(method, url, request.headers["content-type"] ?? "", text);
      if (answer === null) return this.stream(url, response);
      if (fault?.how === "lost") {
        request.socket.destroy();
        return;
      }
      send(response, method === "POST" ? 201 : 200, answer);
    } catch (error) {
      if (!(error instanceof StatusError)) throw error;
      const { code, reason, message } = error;
      send(response, code, {
        apiVersion: "v1",
        kind: "Status",
        status: "Failure",
        code,
        reason,
        message,
      });
    }
  }

  /** The object to answer with; null for a watch. */
  private answer(method: string, url: URL, type: string, text: string): object | null {
    if (url.pathname === "/api/v1" && method === "GET") {
      const names = ["nodes", "pods", "pods/status", "configmaps"];
      if (this.offers.resize) names.push("pods/resize");
      return {
        kind: "APIResourceList",
        groupVersion: "v1",
        resources: names.map((name) => ({ name })),
      };
    }
    const match = route.exec(url.pathname);
    if (match === null) throw new StatusError(404, "NotFound", "no such path");
    const [, namespace, resourceName, name, part] = match;
    const resource = resourceName as ResourceName;
    if (name === undefined) {
      if (method === "GET") {
        if (url.searchParams.get("watch") !== null) return null;
        return this.page(resource, namespace, url.searchParams);
      }
      if (method === "POST") return this.create(resource, namespace, url.searchParams, text);
      throw new StatusError(405, "MethodNotAllowed", "not offered by this server");
    }
    if (part === "resize" && !this.offers.resize)
      throw new StatusError(404, "NotFound", "the server could not find the requested resource");
    if (method === "GET") return this.store.get(resource, namespace, name);
    if (method === "DELETE") {
      const object = this.store.get(resource, namespace, name);
      this.remove(resource, object, url.searchParams);
      return object;
    }
    if (method === "PATCH")
      return this.patch(resource, this.store.get(resource, namespace, name), part, type, url, text);
    throw new StatusError(405, "MethodNotAllowed", "not offered by this server");
  }

  private create(
    resource: ResourceName,
    namespace: string | undefined,
    query: URLSearchParams,
    text: string,
  ): Stored {
    const object = parsed(text) as unknown as Stored;
    if (object.kind !== kinds[resource])
      throw new StatusError(400, "BadRequest", `kind ${object.kind} is not ${kinds[resource]}`);
    if (query.get("fieldValidation") === "Strict") checkFields(object);
    if (namespace !== undefined) object.metadata.namespace = namespace;
    checkValues(object);
    if (resource === "jobs") {
      object.spec = { suspend: false, completionMode: "NonIndexed", ...object.spec };
      object.status = {};
      const labels = object.spec.template.metadata?.labels ?? {};
      const label = "batch.kubernetes.io/job-name";
      object.spec.template.metadata = {
        ...object.spec.template.metadata,
        labels: { ...labels, [label]: object.metadata.name },
      };
    }
    return this.store.create(resource, object);
  }

  private patch(
    resource: ResourceName,
    before: Stored,
    part: string | undefined,
    type: string,
    url: URL,
    text: string,
  ): Stored {
    const change = parsed(text);
    const after =
      type === "application/json-patch+json"
        ? jsonPatch(before, change)
        : type === "application/merge-patch+json"
          ? mergePatch(before, change)
          : null;
    if (after === null)
      throw new StatusError(415, "UnsupportedMediaType", `the body of the request was in ${type}`);
    if (url.searchParams.get("fieldValidation") === "Strict") checkFields(after);
    if (part === "status") {
      const { metadata } = after;
      const next = { ...before, metadata: { ...before.metadata }, status: after.status };
      if (metadata.resourceVersion !== undefined)
        next.metadata.resourceVersion = metadata.resourceVersion;
      if (resource === "jobs" && before.status?.startTime && !after.status?.startTime)
        if (before.spec.suspend !== true)
          throw new StatusError(
            422,
            "Invalid",
            "status.startTime: may not be removed while running",
          );
      return this.store.update(resource, next);
    }
    if (part === "resize") {
      checkResize(before, after);
      return this.store.update(resource, { ...after, status: before.status });
    }
    if (before.status === undefined) delete after.status;
    else after.status = before.status;
    checkValues(after);
    if (resource === "jobs") checkJobUpdate(before, after, this.offers.mutableResources);
    if (resource === "pods" && !isDeepStrictEqual(before.spec, after.spec))
      throw new StatusError(422, "Invalid", "pod updates may not change fields other than a few");
    if (!isDeepStrictEqual(before.spec, after.spec))
      after.metadata.generation = (before.metadata.generation ?? 0) + 1;
    return this.store.update(resource, after);
  }

  private remove(resource: ResourceName, object: Stored, query: URLSearchParams): void {
    if (resource === "jobs" && query.get("propagationPolicy") === "Foreground") {
      object.metadata.finalizers = [...(object.metadata.finalizers ?? []), "foregroundDeletion"];
      delete object.metadata.resourceVersion;
      this.store.update(resource, object);
    }
    const grace =
      resource === "pods" && object.spec.nodeName !== undefined
        ? (object.spec.terminationGracePeriodSeconds ?? 30)
        : 0;
    this.store.delete(resource, object, grace);
  }

  private page(
    resource: ResourceName,
    namespace: string | undefined,
    query: URLSearchParams,
  ): object {
    const all = this.store.list(resource, namespace).filter((o) => selected(o, query));
    const from = Number(query.get("continue") ?? 0);
    const limit = Number(query.get("limit") ?? all.length);
    const rest = from + limit < all.length ? { continue: String(from + limit) } : {};
    return {
      apiVersion: "v1",
      kind: `${kinds[resource]}List`,
      metadata: { resourceVersion: String(this.store.resourceVersion), ...rest },
      items: all.slice(from, from + limit),
    };
  }

  private stream(url: URL, response: http.ServerResponse): void {
    const [, namespace, resource] = route.exec(url.pathname) ?? [];
    const write = (type: string, object: object): void =>
      void response.write(`${JSON.stringify({ type, object })}\n`);
    response.writeHead(200, { "Content-Type": "application/json" });
    response.flushHeaders();
    this.streams.add(response);
    const version = url.searchParams.get("resourceVersion");
    try {
      const stop = this.store.watch(version === null ? null : Number(version), (event) => {
        if (event.resource !== resource) return;
        if (namespace !== undefined && event.object.metadata.namespace !== namespace) return;
        if (selected(event.object, url.searchParams)) write(event.type, event.object);
      });
      response.on("close", () => {
        stop();
        this.streams.delete(response);
      });
      if (url.searchParams.get("allowWatchBookmarks") === "true")
        write("BOOKMARK", { metadata: { resourceVersion: String(this.store.resourceVersion) } });
    } catch (error) {
      const { code, reason, message } = error as StatusError;
      write("ERROR", { kind: "Status", status: "Failure", code, reason, message });
      this.streams.delete(response);
      response.end();
    }
  }
}

function send(response: http.ServerResponse, status: number, body: object): void {
  response.writeHead(status, { "Content-Type": "application/json" });
  response.end(JSON.stringify(body));
}

function parsed(text: string): object {
  try {
    return JSON.parse(text) as object;
  } catch {
    throw new StatusError(400, "BadRequest", "the body is no JSON");
  }
}

/** Label selectors of the form a=b,c!=d,e; field selectors on names and phases. */
function selected(object: Stored, query: URLSearchParams): boolean {
  const terms = (text: string | null) => (text ?? "").split(",").filter((term) => term !== "");
  const holds = (term: string, value: (name: string) => string | undefined): boolean => {
    const [, name = "", sign, wanted] = /^([^!=]+)(!=|==?)?(.*)$/.exec(term) ?? [];
    if (sign === undefined) return value(name) !== undefined;
    return sign === "!=" ? value(name) !== wanted : value(name) === wanted;
  };
  const fields: Readonly<Record<string, string | undefined>> = {
    "metadata.name": object.metadata.name,
    "status.phase": object.status?.phase,
    "spec.nodeName": object.spec?.nodeName,
  };
  return (
    terms(query.get("labelSelector")).every((t) => holds(t, (n) => object.metadata.labels?.[n])) &&
    terms(query.get("fieldSelector")).every((t) => holds(t, (n) => fields[n]))
  );
}

/** Only CPU and memory of containers may change, within the class of service. */
function checkResize(before: Stored, after: Stored): void {
  const invalid = (field: string, why: string): never => {
    throw new StatusError(
      422,
      "Invalid",
      `Pod "${after.metadata.name}" is invalid: ${field}: ${why}`,
    );
  };
  if (before.metadata.deletionTimestamp !== undefined) invalid("metadata", "the pod is deleted");
  const fixed = (pod: Stored): unknown => {
    const spec = structuredClone(pod.spec);
    for (const c of spec.containers)
      for (const of of ["requests", "limits"])
        for (const name of ["cpu", "memory"]) delete c.resources?.[of]?.[name];
    return spec;
  };
  if (!isDeepStrictEqual(fixed(before), fixed(after)))
    invalid("spec", "only cpu and memory resources are mutable");
  const guaranteed = ({ spec }: Stored): boolean =>
    spec.containers.every((c: { resources?: { requests?: object; limits?: object } }) =>
      isDeepStrictEqual(c.resources?.requests, c.resources?.limits),
    );
  if (guaranteed(before) !== guaranteed(after)) invalid("spec", "Pod QOS Class may not change");
  for (const c of after.spec.containers) {
    checkResources(c.resources ?? {}, invalid);
    if (quantity(c.resources?.limits?.cpu) <= 0) invalid("resources", "cpu must be above 0");
  }
}
