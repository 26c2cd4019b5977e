import { createHash } from "node:crypto";
import fc from "fast-check";
import { parseHTML } from "linkedom";
import { describe, expect, test } from "vitest";
import type { ReportDocument } from "./document.ts";
import { renderReport } from "./html/render.ts";
import { script, scriptHash } from "./html/script.ts";
import { renderMarkdown } from "./markdown.ts";
import type { PlanFindings } from "./plan/input.ts";
import { planReport } from "./plan/report.ts";
import { reproduceReport } from "./reproduce/report.ts";
import { planSample, reproduceSample, simulationSample } from "./samples.conformance.ts";
import { simulationReport } from "./simulation/report.ts";

const context = {
  command: "millrace plan --config 'a b.yaml'",
  version: "0.1.0",
  configText: "a: 1\n",
};
const documents: Record<string, ReportDocument> = {
  plan: planReport({ result: planSample(), context }),
  simulation: simulationReport({ run: simulationSample(), context }),
  reproduce: reproduceReport({ ...reproduceSample(), context }),
};

/** Start tags in order; throws where tags do not nest. */
function tags(html: string): string[] {
  const empty = new Set(["meta", "link", "input", "br"]);
  const open: string[] = [];
  const found: string[] = [];
  const body = html
    .replace(/<(style|script)([^>]*)>[\s\S]*?<\/\1>/g, "<$1$2></$1>")
    .replace("<!doctype html>", "");
  for (const [, end, name, rest] of body.matchAll(
    /<(\/?)([a-zA-Z][a-zA-Z0-9]*)((?:[^>"']|"[^"]*"|'[^']*')*)>/g,
  )) {
    if (end === "/") expect(open.pop()).toBe(name);
    else {
      found.push(name);
      if (!empty.has(name) && !rest.endsWith("/")) open.push(name);
    }
  }
  expect(open).toEqual([]);
  return found;
}

for (const [name, report] of Object.entries(documents))
  describe(`${name} report`, () => {
    const html = renderReport(report);
    const { document } = parseHTML(html);

    test("has its sections, a contents list that leads to them, and one title", () => {
      const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
      expect(new Set(ids).size).toBe(ids.length);
      const links = [...document.querySelectorAll(".toc a")].map((a) => a.getAttribute("href"));
      expect(links).toEqual(["#answer", ...report.sections.map((s) => `#${s.id}`)]);
      for (const link of links) expect(ids).toContain(link?.slice(1));
      expect(document.querySelectorAll("h1").length).toBe(1);
      expect(document.querySelector("title")?.textContent).toBe(report.title);
      for (const id of report.sections.map((s) => s.id)) expect(id).toMatch(/^[a-z][a-z0-9-]*$/);
    });

    test("tags nest, every figure has a picture, every row a cell for each column", () => {
      tags(html);
      for (const figure of document.querySelectorAll("figure"))
        expect(figure.querySelector("svg[role=img]")).toBeTruthy();
      for (const table of document.querySelectorAll("table")) {
        const columns = table.querySelectorAll("thead th").length;
        for (const row of table.querySelectorAll("tbody tr"))
          expect(row.children.length).toBe(columns);
      }
    });

    test("asks for nothing from outside", () => {
      expect(html).not.toMatch(/(src|href|action|poster|data)=["']?(?!#|data:)[a-z]*:?\/\//i);
      expect(html).not.toMatch(/url\(|@import/);
      const addresses = html.match(/https?:\/\/[^"'\s<]+/g) ?? [];
      expect(new Set(addresses)).toEqual(new Set(["http://www.w3.org/2000/svg"]));
      expect(html).toContain("default-src 'none'");
    });

    test("shows numbers for people", () => {
      const text = document.body.textContent ?? "";
      expect(text.replace(script, "").replace(JSON.stringify(report.data), "")).not.toMatch(
        /NaN|undefined|\[object|Infinity/,
      );
      for (const cell of document.querySelectorAll("td.number, dl.figures dd"))
        expect(cell.textContent).not.toMatch(/\d\.\d{5,}/);
    });

    test("carries its data, and equal input gives equal bytes", () => {
      const data = document.querySelector("#millrace-data")?.textContent ?? "";
      expect(JSON.parse(data)).toEqual(JSON.parse(JSON.stringify(report.data)));
      expect(renderReport(report)).toBe(html);
      expect(html.length).toBeLessThan(400_000);
    });

    test("reads as Markdown with the same headings and tables", () => {
      const markdown = renderMarkdown(report);
      for (const s of report.sections) expect(markdown).toContain(`\n## ${s.heading}\n`);
      expect(markdown).not.toMatch(/NaN|undefined|\[object/);
      const lines = markdown.split("\n").filter((l) => l.startsWith("|"));
      expect(lines.length).toBeGreaterThan(5);
      for (const l of lines) expect(l.endsWith("|")).toBe(true);
    });
  });

test("the content policy names the script that is in the page", () => {
  expect(scriptHash).toBe(createHash("sha256").update(script).digest("base64"));
  expect(renderReport(documents.plan)).toContain(`<script>${script}</script>`);
  expect(script).not.toContain("</");
});

describe("hostile names", () => {
  /** Puts `name` wherever a name can come from outside. */
  function spoiled(name: string): PlanFindings {
    const plan = planSample();
    const swap = (c: (typeof plan.candidates)[number]): typeof c => ({
      ...c,
      config: { ...c.config, device: name, scheduler: name },
      bottleneck: `x${name}`,
      unfitted: [name],
    });
    return {
      ...plan,
      model: name,
      workload: name,
      slo: [name],
      best: plan.best && swap(plan.best),
      candidates: plan.candidates.slice(0, 4).map(swap),
      pareto: [0],
      current: plan.current && swap(plan.current),
      rejected: plan.rejected
        .slice(0, 2)
        .map((r) => ({ config: { ...r.config, device: name }, reason: name })),
      notModelled: [name],
      sensitivity: [{ change: name, winner: name, dollarsPerHour: 1, sameWinner: true }],
      robust: { errorPercent: 10, sameWinner: false, rivals: [name], capacityQps: null },
      launch: [{ target: name, command: name }],
    };
  }
  const page = (name: string): string =>
    renderReport(
      planReport({
        result: spoiled(name),
        context: {
          command: name,
          version: name,
          configText: name,
          facts: [{ label: name, value: name }],
        },
      }),
    );
  // Backticks and empty lines are the markup that prose may have; wrapped labels make lines of their own.
  const shape = (html: string): string[] =>
    tags(html).filter((t) => !["code", "p", "tspan"].includes(t));
  const benign = shape(page("name"));

  const attack = fc.oneof(
    fc.string({ unit: "binary", maxLength: 40 }),
    fc.constantFrom(
      "</script><script>alert(1)</script>",
      '"><img src=x onerror=alert(1)>',
      "' onload='alert(1)",
      "</title></style></svg><svg onload=alert(1)>",
      "<!--",
      "]]>",
      "`<b>`",
      "&lt;b&gt;",
      "\ud800",
      "\u202egnp.exe",
      "__proto__",
      "$& $1 $`",
    ),
  );

  test("never change the structure of the page", { timeout: 120_000 }, () => {
    fc.assert(
      fc.property(fc.array(attack, { minLength: 1, maxLength: 3 }), (parts) => {
        const html = page(parts.join(""));
        expect(shape(html)).toEqual(benign);
        expect(html.match(/<script/g)?.length).toBe(2);
      }),
      { numRuns: 25 },
    );
  });

  test("never become HTML or break a table in Markdown", () => {
    fc.assert(
      fc.property(fc.array(attack, { minLength: 1, maxLength: 3 }), (parts) => {
        const name = parts.join("");
        const cells = [name, { text: name, note: name }, 1, { value: name, met: true }];
        const markdown = renderMarkdown({
          kind: "k",
          title: name,
          madeWith: [{ label: name, value: name }],
          verdict: { tone: "good", headline: name, figures: [{ label: name, value: name }] },
          sections: [
            {
              id: "a",
              heading: "a",
              blocks: [
                {
                  kind: "table",
                  columns: cells.map(() => ({ header: name, kind: "text" as const })),
                  rows: [{ cells }],
                },
                { kind: "list", items: [name] },
              ],
            },
          ],
        });
        const prose = markdown.replace(/`[^`\n]*`/g, "");
        expect(prose).not.toMatch(/<(?!\/?(details|summary)\b)/);
        for (const line of markdown.split("\n").filter((l) => l.startsWith("| ")))
          expect(line.match(/(?<!\\)(\\\\)*\|/g)?.length).toBe(5);
      }),
      { numRuns: 200 },
    );
  });
});
