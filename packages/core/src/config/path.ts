/** Paths into configuration data: `scheduler.chunkSize`, `devices[0].price`, `models."my.model".layers`. */

/** Keys and list indices from the root. */
export type Path = readonly (string | number)[];

/** How a path is written in messages and flags. */
export function formatPath(path: Path): string {
  let text = "";
  for (const key of path) {
    if (typeof key === "number") text += `[${key}]`;
    else {
      const name = /^[^\s."[\]=]+$/.test(key) ? key : JSON.stringify(key);
      text += text === "" ? name : `.${name}`;
    }
  }
  return text;
}

const segment = /^(?:\[(\d{1,9})\]|("(?:[^"\\]|\\.)*")|([^."[\]]+))/;

/** The path a text names, or null when it is not one. Plain digits after a dot are an index or a key, as the data has it. */
export function parsePath(text: string): Path | null {
  const path: (string | number)[] = [];
  let rest = text.trim();
  while (rest !== "") {
    const match = segment.exec(rest);
    if (match === null) return null;
    if (match[1] !== undefined) path.push(Number(match[1]));
    else if (match[2] !== undefined) {
      const name = quoted(match[2]);
      if (name === null) return null;
      path.push(name);
    } else path.push(match[3] as string);
    rest = rest.slice(match[0].length);
    if (rest.startsWith(".")) {
      rest = rest.slice(1);
      if (rest === "") return null;
    } else if (rest !== "" && !rest.startsWith("[")) return null;
  }
  return path.length === 0 ? null : path;
}

function quoted(text: string): string | null {
  try {
    return String(JSON.parse(text));
  } catch {
    return null;
  }
}

/** Whether `path` is `start` or lies below it. */
export function startsWith(path: Path, start: Path): boolean {
  return start.length <= path.length && start.every((key, i) => String(key) === String(path[i]));
}

/** The value at a path, undefined when there is none; own properties only. */
export function valueAt(data: unknown, path: Path): unknown {
  let value = data;
  for (const key of path) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, key)) return undefined;
    value = (value as Record<string | number, unknown>)[key];
  }
  return value;
}

/** Sets an own property, also one named `__proto__`. */
export function setOwn(target: object, key: string | number, value: unknown): void {
  Object.defineProperty(target, key, {
    value,
    writable: true,
    enumerable: true,
    configurable: true,
  });
}
