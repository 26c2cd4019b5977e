/** Data sets from the network: a catalogue with checksums, or a manifest of one's own. A file appears when it is whole and right. */
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { MillraceError, suggestion } from "@millrace/core";
import { AtomicFileStream, makeFolder, readTextFile } from "@millrace/core/node";
import { z } from "zod";

const manifestSchema = z.strictObject({
  name: z.string(),
  about: z.string(),
  licence: z.string(),
  files: z.array(
    z.strictObject({
      name: z.string().regex(/^[\w.-]+$/, "a plain file name"),
      url: z.url({ protocol: /^https?$/ }),
      sha256: z.string().regex(/^[0-9a-f]{64}$/, "64 hexadecimal digits"),
      bytes: z.int().min(0),
    }),
  ),
});

/** Where the files of a data set are, and what they must be. */
export type DatasetManifest = z.infer<typeof manifestSchema>;

const renee =
  "https://raw.githubusercontent.com/microsoft/renee/7c7c9910422c6ff092183c79cbba11cd8b9d4557/Datasets/LF-AmazonTitles-131K";

/** Sets whose files are public at a fixed place and were checked. */
export const catalogue: readonly DatasetManifest[] = [
  {
    name: "lf-amazontitles-131k-test-labels",
    about: "test labels and filter pairs of LF-AmazonTitles-131K, to evaluate predictions with",
    licence: "not stated for the data; see the repository microsoft/renee",
    files: [
      {
        name: "tst_X_Y.txt",
        url: `${renee}/tst_X_Y.txt`,
        sha256: "71c19d107f87eea7552ab8b82ea0735d4b4010df9114c3562cbb38af119a8d68",
        bytes: 4_040_817,
      },
      {
        name: "trn_filter_labels.txt",
        url: `${renee}/trn_filter_labels.txt`,
        sha256: "742fab94fe57f51bad607254de92a5f7d1dc11350461d73d7c3cd79240c95c2b",
        bytes: 959_857,
      },
      {
        name: "tst_filter_labels.txt",
        url: `${renee}/tst_filter_labels.txt`,
        sha256: "9628c994ddf7cda8e29a3684d968bfd571c5d76b86d35b47847e5dff842d010c",
        bytes: 987_741,
      },
    ],
  },
];

/** The manifest of a name in the catalogue, or of a JSON file. Throws USAGE or DATASET_INVALID. */
export function manifestOf(nameOrFile: string): DatasetManifest {
  const known = catalogue.find((set) => set.name === nameOrFile);
  if (known !== undefined) return known;
  if (!nameOrFile.endsWith(".json"))
    throw new MillraceError("USAGE", `no data set is called ${nameOrFile}`, {
      hint:
        suggestion(
          nameOrFile,
          catalogue.map((set) => set.name),
        ) ??
        `there is ${catalogue.map((set) => set.name).join(", ")}; others by a manifest file: NAME.json with name, about, licence, files [{name, url, sha256, bytes}]`,
    });
  let value: unknown;
  try {
    value = JSON.parse(readTextFile(nameOrFile));
  } catch (error) {
    if (error instanceof MillraceError) throw error;
    throw new MillraceError("DATASET_INVALID", `${nameOrFile} is not JSON`, { cause: error });
  }
  const parsed = manifestSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw new MillraceError(
    "DATASET_INVALID",
    `${nameOrFile}: ${issue?.path.join(".")} ${issue?.message}`,
  );
}

const sha256 = (path: string): string =>
  createHash("sha256").update(readFileSync(path)).digest("hex");

/**
 * Fetches what is not there yet. Returns the names of the fetched files. Throws DATASET_INVALID where a file is not the promised
 * one, ENVIRONMENT_MISSING where the network does not answer.
 */
export async function fetchDataset(
  manifest: DatasetManifest,
  out: string,
  onProgress: (file: string, done: number, total: number) => void = () => {},
  signal?: AbortSignal,
): Promise<readonly string[]> {
  makeFolder(out);
  const fetched: string[] = [];
  for (const file of manifest.files) {
    const path = join(out, file.name);
    if (existsSync(path)) {
      if (sha256(path) === file.sha256) continue;
      throw new MillraceError("DATASET_INVALID", `${path} is not the file of ${manifest.name}`, {
        hint: "remove it, or name another folder",
      });
    }
    await fetchFile(file, path, (done) => onProgress(file.name, done, file.bytes), signal);
    fetched.push(file.name);
  }
  return fetched;
}

async function fetchFile(
  file: DatasetManifest["files"][number],
  path: string,
  onProgress: (done: number) => void,
  signal: AbortSignal | undefined,
): Promise<void> {
  const response = await ask(file.url, signal);
  using stream = new AtomicFileStream(path);
  const hash = createHash("sha256");
  let bytes = 0;
  for await (const part of response.body as unknown as AsyncIterable<Uint8Array>) {
    bytes += part.length;
    if (bytes > file.bytes) break;
    hash.update(part);
    stream.write(part);
    onProgress(bytes);
  }
  if (bytes !== file.bytes || hash.digest("hex") !== file.sha256)
    throw new MillraceError(
      "DATASET_INVALID",
      `${file.url} is not what it was: ${bytes === file.bytes ? "the checksum differs" : `${bytes > file.bytes ? "more" : "fewer"} than ${file.bytes} bytes`}`,
      { hint: "nothing was kept; a broken download or a changed source are the usual causes" },
    );
  stream.commit();
}

async function ask(url: string, signal: AbortSignal | undefined): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(url, signal === undefined ? {} : { signal });
  } catch (error) {
    signal?.throwIfAborted();
    throw new MillraceError("ENVIRONMENT_MISSING", `${new URL(url).host} does not answer`, {
      hint: "fetch the files on a machine with a network, and copy the folder",
      cause: error,
    });
  }
  if (!response.ok || response.body === null)
    throw new MillraceError("ENVIRONMENT_MISSING", `${url} answers ${response.status}`, {
      hint: "the source may have moved; give a manifest with its new place",
    });
  return response;
}
