/**
 * The parts of Kubernetes' objects that the runner reads and writes, as they are on the wire (the client's own classes turn
 * times into Dates and drop what they do not know).
 */

export interface ObjectMeta {
  readonly name: string;
  readonly namespace?: string;
  readonly uid?: string;
  readonly resourceVersion?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly deletionTimestamp?: string;
  readonly finalizers?: readonly string[];
  readonly ownerReferences?: readonly { readonly uid: string; readonly controller?: boolean }[];
}

export interface KubeObject {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly metadata: ObjectMeta;
}

export interface Condition {
  readonly type: string;
  readonly status: string;
  readonly reason?: string;
  readonly message?: string;
}

/** Amounts by resource name, as quantities: `3`, `500m`, `64Gi`. */
export type Amounts = Readonly<Record<string, string>>;

export interface Resources {
  readonly requests?: Amounts;
  readonly limits?: Amounts;
}

export interface Container {
  readonly name: string;
  readonly image?: string;
  readonly resources?: Resources;
  readonly restartPolicy?: string;
  readonly [field: string]: unknown;
}

export interface PodSpec {
  readonly nodeName?: string;
  readonly containers: readonly Container[];
  readonly initContainers?: readonly Container[];
  readonly overhead?: Amounts;
  readonly affinity?: {
    readonly nodeAffinity?: {
      readonly requiredDuringSchedulingIgnoredDuringExecution?: {
        readonly nodeSelectorTerms: readonly {
          readonly matchFields?: readonly {
            readonly key: string;
            readonly operator: string;
            readonly values?: readonly string[];
          }[];
        }[];
      };
    };
  };
  readonly [field: string]: unknown;
}

export interface PodTemplate {
  readonly metadata?: Partial<ObjectMeta>;
  readonly spec: PodSpec;
}

export interface ContainerState {
  readonly waiting?: { readonly reason?: string; readonly message?: string };
  readonly running?: object;
  readonly terminated?: {
    readonly exitCode: number;
    readonly reason?: string;
    readonly message?: string;
  };
}

export interface Pod extends KubeObject {
  readonly spec: PodSpec;
  readonly status?: {
    readonly phase?: string;
    readonly reason?: string;
    readonly message?: string;
    readonly conditions?: readonly Condition[];
    readonly containerStatuses?: readonly {
      readonly name: string;
      readonly state?: ContainerState;
      readonly resources?: Resources;
    }[];
  };
}

export interface Job extends KubeObject {
  readonly spec: {
    readonly suspend?: boolean;
    readonly backoffLimit?: number;
    readonly template: PodTemplate;
    readonly [field: string]: unknown;
  };
  readonly status?: {
    readonly startTime?: string | null;
    readonly active?: number;
    readonly failed?: number;
    /** Names (uids) of pods that have ended and are not in the counts yet. */
    readonly uncountedTerminatedPods?: { readonly succeeded?: readonly string[] };
    readonly conditions?: readonly Condition[];
  };
}

export interface Node extends KubeObject {
  readonly spec?: {
    readonly unschedulable?: boolean;
    readonly taints?: readonly {
      readonly key: string;
      readonly value?: string;
      readonly effect: string;
    }[];
  };
  readonly status?: { readonly allocatable?: Amounts; readonly conditions?: readonly Condition[] };
}

export interface ConfigMap extends KubeObject {
  readonly data?: Readonly<Record<string, string>>;
}

/** Whether the condition is there and true. */
export function isTrue(conditions: readonly Condition[] | undefined, type: string): boolean {
  return conditions?.some((c) => c.type === type && c.status === "True") ?? false;
}

const suffixes: Readonly<Record<string, number>> = {
  n: 1e-9,
  u: 1e-6,
  m: 1e-3,
  "": 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  E: 1e18,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
  Ei: 2 ** 60,
};

/** The number that a quantity stands for; 0 when it is missing or malformed. */
export function quantity(text: string | number | undefined): number {
  const match = /^([+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?)([a-zA-Z]*)$/.exec(String(text ?? "").trim());
  if (match === null) return 0;
  const value = Number(match[1]) * (suffixes[match[2] ?? ""] ?? Number.NaN);
  return Number.isFinite(value) ? value : 0;
}
