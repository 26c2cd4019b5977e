/** Which fields objects have, and what the API server refuses: unknown fields under strict validation, values that cannot be. */
import { isDeepStrictEqual } from "node:util";
import { quantity } from "../objects.ts";
import { StatusError, type Stored } from "./store.conformance.ts";

/** `leaf`: any value. An array wraps the schema of its items. A `*` key: any name. */
type Schema = "leaf" | { readonly [field: string]: Schema } | readonly [Schema];

const map = { "*": "leaf" } as const;
const metadata = {
  name: "leaf",
  generateName: "leaf",
  namespace: "leaf",
  uid: "leaf",
  resourceVersion: "leaf",
  generation: "leaf",
  creationTimestamp: "leaf",
  deletionTimestamp: "leaf",
  deletionGracePeriodSeconds: "leaf",
  labels: map,
  annotations: map,
  finalizers: "leaf",
  ownerReferences: "leaf",
  managedFields: "leaf",
} as const;
const selector = { fieldRef: { apiVersion: "leaf", fieldPath: "leaf" } } as const;
const container = {
  name: "leaf",
  image: "leaf",
  imagePullPolicy: "leaf",
  command: "leaf",
  args: "leaf",
  workingDir: "leaf",
  ports: "leaf",
  env: [
    {
      name: "leaf",
      value: "leaf",
      valueFrom: {
        ...selector,
        resourceFieldRef: { containerName: "leaf", resource: "leaf", divisor: "leaf" },
        configMapKeyRef: "leaf",
        secretKeyRef: "leaf",
      },
    },
  ],
  envFrom: "leaf",
  resources: { requests: map, limits: map, claims: "leaf" },
  resizePolicy: [{ resourceName: "leaf", restartPolicy: "leaf" }],
  restartPolicy: "leaf",
  volumeMounts: "leaf",
  securityContext: "leaf",
  livenessProbe: "leaf",
  readinessProbe: "leaf",
  startupProbe: "leaf",
  lifecycle: "leaf",
  terminationMessagePath: "leaf",
  terminationMessagePolicy: "leaf",
} as const;
const podSpec = {
  nodeName: "leaf",
  nodeSelector: map,
  affinity: {
    nodeAffinity: {
      requiredDuringSchedulingIgnoredDuringExecution: {
        nodeSelectorTerms: [
          {
            matchExpressions: [{ key: "leaf", operator: "leaf", values: "leaf" }],
            matchFields: [{ key: "leaf", operator: "leaf", values: "leaf" }],
          },
        ],
      },
      preferredDuringSchedulingIgnoredDuringExecution: "leaf",
    },
    podAffinity: "leaf",
    podAntiAffinity: "leaf",
  },
  tolerations: [
    { key: "leaf", operator: "leaf", value: "leaf", effect: "leaf", tolerationSeconds: "leaf" },
  ],
  containers: [container],
  initContainers: [container],
  volumes: "leaf",
  restartPolicy: "leaf",
  terminationGracePeriodSeconds: "leaf",
  activeDeadlineSeconds: "leaf",
  serviceAccountName: "leaf",
  imagePullSecrets: "leaf",
  securityContext: {
    runAsUser: "leaf",
    runAsGroup: "leaf",
    runAsNonRoot: "leaf",
    fsGroup: "leaf",
    seccompProfile: "leaf",
  },
  schedulingGates: "leaf",
  schedulerName: "leaf",
  priorityClassName: "leaf",
  runtimeClassName: "leaf",
  overhead: map,
  hostNetwork: "leaf",
  hostIPC: "leaf",
  dnsPolicy: "leaf",
  enableServiceLinks: "leaf",
} as const;

const schemas: Readonly<Record<string, Schema>> = {
  Job: {
    apiVersion: "leaf",
    kind: "leaf",
    metadata,
    spec: {
      suspend: "leaf",
      parallelism: "leaf",
      completions: "leaf",
      completionMode: "leaf",
      backoffLimit: "leaf",
      activeDeadlineSeconds: "leaf",
      ttlSecondsAfterFinished: "leaf",
      podFailurePolicy: "leaf",
      podReplacementPolicy: "leaf",
      manualSelector: "leaf",
      managedBy: "leaf",
      selector: "leaf",
      template: { metadata, spec: podSpec },
    },
    status: "leaf",
  },
  Pod: { apiVersion: "leaf", kind: "leaf", metadata, spec: podSpec, status: "leaf" },
  ConfigMap: {
    apiVersion: "leaf",
    kind: "leaf",
    metadata,
    data: map,
    binaryData: map,
    immutable: "leaf",
  },
};

/** Throws 400 for the first field that the kind does not have. */
export function checkFields(object: Stored): void {
  const unknown = unknownField(object, schemas[object.kind] ?? "leaf", "");
  if (unknown !== null)
    throw new StatusError(400, "BadRequest", `strict decoding error: unknown field "${unknown}"`);
}

function unknownField(value: unknown, schema: Schema, path: string): string | null {
  if (schema === "leaf" || value === null || typeof value !== "object") return null;
  if (Array.isArray(schema)) {
    if (!Array.isArray(value)) return path;
    for (const [i, item] of value.entries()) {
      const found = unknownField(item, schema[0] as Schema, `${path}[${i}]`);
      if (found !== null) return found;
    }
    return null;
  }
  for (const [key, item] of Object.entries(value)) {
    const fields = schema as { readonly [field: string]: Schema };
    const field = fields[key] ?? fields["*"];
    const at = path === "" ? key : `${path}.${key}`;
    if (field === undefined) return at;
    const found = unknownField(item, field, at);
    if (found !== null) return found;
  }
  return null;
}

const dnsLabel = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;
const quantityForm = /^[+-]?[0-9.]+([eE][+-]?[0-9]+|[numkMGTPE]|[KMGTPE]i)?$/;

/** Throws 422 for values that cannot be. */
export function checkValues(object: Stored): void {
  const { name } = object.metadata;
  const invalid = (field: string, why: string): never => {
    throw new StatusError(
      422,
      "Invalid",
      `${object.kind} "${name}" is invalid: ${field}: Invalid value: ${why}`,
    );
  };
  if (!dnsLabel.test(name) || name.length > 63) invalid("metadata.name", "a DNS label is needed");
  for (const [key, value] of Object.entries(object.metadata.labels ?? {}))
    if (
      !/^([a-z0-9.-]+\/)?[A-Za-z0-9._-]{1,63}$/.test(key) ||
      !/^[A-Za-z0-9._-]{0,63}$/.test(value)
    )
      invalid("metadata.labels", `${key}=${value}`);
  for (const value of Object.values(object.metadata.annotations ?? {}))
    if (typeof value !== "string") invalid("metadata.annotations", "strings are needed");
  if (object.kind !== "Job") return;
  const { spec } = object;
  if (!Number.isInteger(spec.backoffLimit ?? 6) || (spec.backoffLimit ?? 6) < 0)
    invalid("spec.backoffLimit", "must be greater than or equal to 0");
  const pod = spec.template?.spec;
  if (!["Never", "OnFailure"].includes(pod?.restartPolicy))
    invalid("spec.template.spec.restartPolicy", 'supported values: "OnFailure", "Never"');
  if (!Array.isArray(pod.containers) || pod.containers.length === 0)
    invalid("spec.template.spec.containers", "at least one is required");
  for (const c of pod.containers) {
    if (typeof c.image !== "string" || c.image === "") invalid("image", "Required value");
    if (!dnsLabel.test(c.name ?? "")) invalid("name", "a DNS label is needed");
    checkResources(c.resources ?? {}, invalid);
  }
  for (const t of pod.tolerations ?? [])
    if (t.tolerationSeconds !== undefined && t.effect !== "NoExecute")
      invalid("tolerations", "effect must be NoExecute when tolerationSeconds is set");
}

/** Requests within limits; GPUs and the like whole and equal. */
export function checkResources(
  resources: { requests?: Record<string, string>; limits?: Record<string, string> },
  invalid: (field: string, why: string) => never,
): void {
  const { requests = {}, limits = {} } = resources;
  for (const [name, value] of Object.entries({ ...requests, ...limits })) {
    if (!quantityForm.test(String(value))) invalid(`resources.${name}`, `${value} is no quantity`);
    const [request, limit] = [requests[name], limits[name]];
    if (limit !== undefined && request !== undefined && quantity(request) > quantity(limit))
      invalid(`resources.requests.${name}`, `must be less than or equal to ${name} limit`);
    if (!name.includes("/")) continue;
    if (!Number.isInteger(quantity(value))) invalid(`resources.${name}`, "must be an integer");
    if (limit === undefined || (request !== undefined && request !== limit))
      invalid(`resources.${name}`, `requests must be equal to limits`);
  }
}

/** What may change in a Job that is there; throws 422 like ValidateJobUpdate. */
export function checkJobUpdate(before: Stored, after: Stored, mutableResources: boolean): void {
  const immutable = (field: string): never => {
    throw new StatusError(
      422,
      "Invalid",
      `Job.batch "${after.metadata.name}" is invalid: ${field}: Invalid value: field is immutable`,
    );
  };
  for (const field of ["completions", "selector", "completionMode", "podFailurePolicy"])
    if (!isDeepStrictEqual(before.spec[field], after.spec[field])) immutable(`spec.${field}`);
  const suspended = before.spec.suspend === true;
  const scheduling = suspended && !before.status?.startTime;
  const resources = mutableResources && suspended && (before.status?.active ?? 0) === 0;
  const fixed = (job: Stored): unknown => {
    const template = structuredClone(job.spec.template);
    if (scheduling) {
      for (const field of ["nodeSelector", "tolerations", "affinity", "schedulingGates"])
        delete template.spec[field];
      delete template.metadata;
    }
    if (resources) for (const c of template.spec.containers) delete c.resources;
    return template;
  };
  if (!isDeepStrictEqual(fixed(before), fixed(after))) immutable("spec.template");
}
