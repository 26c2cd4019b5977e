/** etcd and the generic part of the API server: versions, conflicts, finalizers, watches from a version, compaction. */
import { randomUUID } from "node:crypto";

/** An object of any kind, open to change. */
export interface Stored {
  apiVersion: string;
  kind: string;
  metadata: {
    name: string;
    namespace?: string;
    uid?: string;
    resourceVersion?: string;
    generation?: number;
    creationTimestamp?: string;
    deletionTimestamp?: string;
    deletionGracePeriodSeconds?: number;
    labels?: Record<string, string>;
    annotations?: Record<string, string>;
    finalizers?: string[];
    ownerReferences?: { uid: string; kind: string; name: string; controller?: boolean }[];
  };
  // biome-ignore lint/suspicious/noExplicitAny: objects of all kinds; the schema checks them on the way in
  [part: string]: any;
}

export type ResourceName = "nodes" | "pods" | "jobs" | "configmaps";

export interface StoreEvent {
  readonly version: number;
  readonly resource: ResourceName;
  readonly type: "ADDED" | "MODIFIED" | "DELETED";
  readonly object: Stored;
}

/** A refusal as the API server words it. */
export class StatusError extends Error {
  readonly code: number;
  readonly reason: string;

  constructor(code: number, reason: string, message: string) {
    super(message);
    this.code = code;
    this.reason = reason;
  }
}

/** All objects, and what happened to them. */
export class Store {
  readonly events: StoreEvent[] = [];
  private version = 100;
  private oldest = 100;
  private readonly objects = new Map<string, { resource: ResourceName; object: Stored }>();
  private readonly listeners = new Set<(event: StoreEvent) => void>();

  get resourceVersion(): number {
    return this.version;
  }

  create(resource: ResourceName, given: Stored): Stored {
    const object = structuredClone(given);
    const key = keyOf(resource, object.metadata.namespace, object.metadata.name);
    if (this.objects.has(key))
      throw new StatusError(
        409,
        "AlreadyExists",
        `${resource} "${object.metadata.name}" already exists`,
      );
    object.metadata.uid = randomUUID();
    object.metadata.creationTimestamp = new Date().toISOString();
    object.metadata.generation = 1;
    this.put(key, resource, object, "ADDED");
    return structuredClone(object);
  }

  get(resource: ResourceName, namespace: string | undefined, name: string): Stored {
    const found = this.objects.get(keyOf(resource, namespace, name));
    if (found === undefined)
      throw new StatusError(404, "NotFound", `${resource} "${name}" not found`);
    return structuredClone(found.object);
  }

  list(resource: ResourceName, namespace?: string): readonly Stored[] {
    return [...this.objects.values()]
      .filter((o) => o.resource === resource)
      .filter((o) => namespace === undefined || o.object.metadata.namespace === namespace)
      .map((o) => structuredClone(o.object));
  }

  /** Writes what was read and changed; a version that is not the newest is a conflict, none at all overwrites. */
  update(resource: ResourceName, given: Stored): Stored {
    const object = structuredClone(given);
    const key = keyOf(resource, object.metadata.namespace, object.metadata.name);
    const before = this.get(resource, object.metadata.namespace, object.metadata.name);
    const { resourceVersion, uid } = object.metadata;
    if (uid !== before.metadata.uid || (resourceVersion ?? "") !== before.metadata.resourceVersion)
      if (resourceVersion !== undefined)
        throw new StatusError(
          409,
          "Conflict",
          `Operation cannot be fulfilled on ${resource} "${object.metadata.name}": the object has been modified; please apply your changes to the latest version and try again`,
        );
    if (
      object.metadata.deletionTimestamp !== undefined &&
      (object.metadata.finalizers ?? []).length === 0 &&
      (resource !== "pods" || object.metadata.deletionGracePeriodSeconds === 0)
    ) {
      this.drop(key, resource, object);
      return object;
    }
    this.put(key, resource, object, "MODIFIED");
    return structuredClone(object);
  }

  /** Marks for deletion, or removes at once what nobody holds. */
  delete(resource: ResourceName, object: Stored, graceSeconds: number): void {
    const key = keyOf(resource, object.metadata.namespace, object.metadata.name);
    const now = this.get(resource, object.metadata.namespace, object.metadata.name);
    const held = (now.metadata.finalizers ?? []).length > 0 || graceSeconds > 0;
    if (!held) {
      this.drop(key, resource, now);
      return;
    }
    if (now.metadata.deletionTimestamp !== undefined && graceSeconds > 0) return;
    now.metadata.deletionTimestamp = new Date().toISOString();
    now.metadata.deletionGracePeriodSeconds = graceSeconds;
    this.put(key, resource, now, "MODIFIED");
  }

  /** Calls for every event from now on; also those after `from` first. 410 when they are not known any more. */
  watch(from: number | null, listener: (event: StoreEvent) => void): () => void {
    if (from !== null) {
      if (from < this.oldest)
        throw new StatusError(410, "Expired", `too old resource version: ${from} (${this.oldest})`);
      for (const event of this.events) if (event.version > from) listener(event);
    }
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** Forgets all events so far, as etcd does after minutes. */
  compact(): void {
    this.events.length = 0;
    this.oldest = this.version;
  }

  private put(
    key: string,
    resource: ResourceName,
    object: Stored,
    type: "ADDED" | "MODIFIED",
  ): void {
    object.metadata.resourceVersion = String(++this.version);
    this.objects.set(key, { resource, object });
    this.tell({ version: this.version, resource, type, object: structuredClone(object) });
  }

  private drop(key: string, resource: ResourceName, object: Stored): void {
    this.objects.delete(key);
    object.metadata.resourceVersion = String(++this.version);
    this.tell({ version: this.version, resource, type: "DELETED", object });
  }

  private tell(event: StoreEvent): void {
    this.events.push(event);
    for (const listener of [...this.listeners]) listener(event);
  }
}

function keyOf(resource: ResourceName, namespace: string | undefined, name: string): string {
  return `${resource}/${namespace ?? ""}/${name}`;
}
