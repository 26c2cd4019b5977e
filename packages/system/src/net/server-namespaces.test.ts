import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { expect, it } from "vitest";
import { namespacesSupported, ServerNamespaces } from "./server-namespaces.ts";

it.runIf(namespacesSupported())("servers reach each other over a link of their own", () => {
  const prefix = `mt${process.pid % 100_000}`;
  const servers = new ServerNamespaces(prefix, 2, 1e9);
  try {
    const [first] = servers.servers;
    const program = `
      const net = require("node:net");
      const s = net.createServer((c) => c.end("hello")).listen(7000, "0.0.0.0", () => console.log("up"));
      process.stdin.resume().on("end", () => s.close());`;
    // The listener of one and the client of the other, in one shell, so that nothing is waited for by time.
    const listen = servers.command(0, [process.execPath, "-e", program]);
    const ask = servers.command(1, [
      process.execPath,
      "-e",
      `require("node:net").connect(7000, ${JSON.stringify(first?.address)}).on("data", (b) => console.log(String(b)))`,
    ]);
    const quote = (words: readonly string[]) =>
      words.map((w) => `'${w.replaceAll("'", "'\\''")}'`).join(" ");
    const out = execFileSync(
      "bash",
      [
        "-c",
        `coproc L { ${quote(listen)}; }; read up <&\${L[0]}; ${quote(ask)}; exec {L[1]}>&-; wait`,
      ],
      { encoding: "utf8" },
    );
    expect(out.trim()).toBe("hello");
  } finally {
    servers[Symbol.dispose]();
  }
  expect(existsSync(`/run/netns/${prefix}0`)).toBe(false);
  servers[Symbol.dispose]();
});
