/**
 * Reports in a real browser: nothing on the console, nothing fetched, no page wider than its window.
 * MILLRACE_SCREENSHOTS=DIR also leaves a picture of every page there, for people to look at.
 */
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { type Browser, chromium } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { ReportDocument } from "./document.ts";
import { renderReport } from "./html/render.ts";
import { planReport } from "./plan/report.ts";
import { reproduceReport } from "./reproduce/report.ts";
import { planSample, reproduceSample, simulationSample } from "./samples.conformance.ts";
import { simulationReport } from "./simulation/report.ts";

const binary = "/usr/bin/chromium";
const found = existsSync(binary);
const pictures = process.env.MILLRACE_SCREENSHOTS;
const context = {
  command: "millrace plan --config plan.yaml --out out/plan",
  version: "0.1.0",
  configText: "model: llama-2-70b\nslo:\n  ttftMs: 2000\n",
};

const reports: Record<string, () => ReportDocument> = {
  plan: () => planReport({ result: planSample(), context }),
  simulation: () => simulationReport({ run: simulationSample(), context }),
  reproduce: () => reproduceReport({ ...reproduceSample(), context }),
};

if (!found && process.env.CI)
  test(`${binary} is installed where CI is set`, () => {
    expect.fail(`${binary} is missing: install Debian's chromium, the browser test needs it`);
  });

describe.skipIf(!found)(`in ${binary} (skipped where it is not installed)`, () => {
  let browser: Browser;
  const folder = mkdtempSync(join(tmpdir(), "millrace-report-"));

  beforeAll(async () => {
    browser = await chromium.launch({
      executablePath: binary,
      args: [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
      ],
      timeout: 60_000,
    });
  }, 90_000);

  afterAll(async () => {
    await browser?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  for (const [name, make] of Object.entries(reports))
    for (const scheme of ["light", "dark"] as const)
      for (const width of [1280, 400])
        test(`${name} report, ${scheme}, ${width} px`, { timeout: 60_000 }, async () => {
          const file = join(folder, `${name}.html`);
          writeFileSync(file, renderReport(make()));
          const page = await browser.newPage({
            viewport: { width, height: 900 },
            colorScheme: scheme,
          });
          const complaints: string[] = [];
          page.on("console", (message) => complaints.push(message.text()));
          page.on("pageerror", (error) => complaints.push(error.message));
          page.on("request", (request) => {
            const url = request.url();
            if (url !== pathToFileURL(file).href && !url.startsWith("data:"))
              complaints.push(`request ${url}`);
          });
          await page.goto(pathToFileURL(file).href);
          // Scripts ran: the policy lets ours through.
          expect(await page.locator("thead button").count()).toBeGreaterThan(0);
          const overflow = await page.evaluate("document.documentElement.scrollWidth - innerWidth");
          if (pictures !== undefined) {
            mkdirSync(pictures, { recursive: true });
            await page.screenshot({
              path: join(pictures, `${name}-${scheme}-${width}.png`),
              fullPage: true,
            });
          }
          await page.close();
          expect(complaints).toEqual([]);
          expect(overflow).toBeLessThanOrEqual(0);
        });

  test("sorting a column and filtering rows", { timeout: 60_000 }, async () => {
    const file = join(folder, "sort.html");
    writeFileSync(file, renderReport(planReport({ result: planSample() })));
    const page = await browser.newPage();
    await page.goto(pathToFileURL(file).href);
    const table = page.locator("#candidates table");
    await table.locator("thead button", { hasText: "Capacity" }).click();
    const values = await table
      .locator("tbody tr td:nth-child(5)")
      .evaluateAll((cells) => cells.map((c) => Number(c.getAttribute("data-v"))));
    expect(values).toEqual([...values].sort((a, b) => a - b));
    await page.locator("#candidates .filter").fill("orca");
    for (const row of await table.locator("tbody tr:visible").allTextContents())
      expect(row).toContain("orca");
    await page.close();
  });
});
