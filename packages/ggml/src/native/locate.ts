/**
 * Finds the folder that holds ggml's shared libraries: MILLRACE_GGML_DIR if set, else the platform package of
 * node-llama-cpp that is installed (one with a GPU back end before the plain one). File names carry a version, so they are
 * matched, not spelled.
 */
import { existsSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { MillraceError } from "@millrace/core";

/** Paths of the libraries of one folder. */
export interface LibraryFiles {
  readonly directory: string;
  readonly base: string;
  readonly ggml: string;
  readonly llama: string;
}

/** Packages that may hold the libraries on a platform, the preferred first; empty where there is none. */
export function candidatePackages(platform: string, arch: string): readonly string[] {
  const names: Record<string, readonly string[]> = {
    "linux-x64": ["linux-x64-cuda", "linux-x64-vulkan", "linux-x64"],
    "linux-arm64": ["linux-arm64"],
    "darwin-arm64": ["mac-arm64-metal"],
    "darwin-x64": ["mac-x64"],
    "win32-x64": ["win-x64-cuda", "win-x64-vulkan", "win-x64"],
    "win32-arm64": ["win-arm64"],
  };
  return (names[`${platform}-${arch}`] ?? []).map((name) => `@node-llama-cpp/${name}`);
}

function pattern(stem: string): RegExp {
  return new RegExp(`^(lib)?${stem}(\\.v?\\d+(\\.\\d+)*)?\\.(so|dylib|dll)(\\.\\d+)*$`);
}

/** The libraries of a folder. Throws GGML_UNAVAILABLE naming the folder and the library that is missing. */
export function librariesIn(directory: string): LibraryFiles {
  let names: string[];
  try {
    names = readdirSync(directory).sort();
  } catch (cause) {
    throw new MillraceError("GGML_UNAVAILABLE", `the folder ${directory} cannot be read`, {
      hint: "MILLRACE_GGML_DIR must name the folder that holds the ggml libraries",
      cause,
    });
  }
  const find = (stem: string): string => {
    const name = names.find((candidate) => pattern(stem).test(candidate));
    if (name === undefined)
      throw new MillraceError("GGML_UNAVAILABLE", `${directory} holds no ${stem} library`, {
        hint: "all ggml libraries of one llama.cpp build must lie in one folder",
      });
    return join(directory, name);
  };
  return { directory, base: find("ggml-base"), ggml: find("ggml"), llama: find("llama") };
}

/**
 * Finds the libraries of this machine. Throws GGML_UNAVAILABLE, naming the package to install, where there are none.
 * `override` is the value of MILLRACE_GGML_DIR.
 */
export function locateLibraries(
  platform: string,
  arch: string,
  override: string | undefined,
): LibraryFiles {
  if (override !== undefined && override !== "") return librariesIn(override);
  const candidates = candidatePackages(platform, arch);
  const require = createRequire(import.meta.url);
  for (const name of candidates) {
    let main: string;
    try {
      main = require.resolve(name);
    } catch {
      continue; // not installed
    }
    const bins = join(dirname(main), "..", "bins");
    if (!existsSync(bins)) continue;
    const folder = readdirSync(bins).find((entry) => !entry.startsWith("."));
    if (folder !== undefined) return librariesIn(join(bins, folder));
  }
  const plain = candidates.at(-1);
  throw new MillraceError(
    "GGML_UNAVAILABLE",
    plain === undefined
      ? `there is no prebuilt ggml for ${platform}-${arch}`
      : `ggml's libraries are not installed: ${plain} is missing`,
    {
      hint:
        plain === undefined
          ? "build llama.cpp with shared libraries and set MILLRACE_GGML_DIR to their folder"
          : `npm install ${plain}@3.22.1, or set MILLRACE_GGML_DIR to a folder with the libraries`,
    },
  );
}
