/**
 * A report as one HTML file: style, charts, data and script inside, nothing fetched. The content policy in its head
 * forbids every request and every script but ours, so that a hostile name in the data could not do harm even if it got
 * past escaping.
 */
import type { ReportDocument, Section } from "../document.ts";
import { embedJson, escapeHtml } from "../text.ts";
import { blockHtml, figuresHtml } from "./blocks.ts";
import { inlineHtml, paragraphsHtml } from "./inline.ts";
import { script, scriptHash } from "./script.ts";
import { style } from "./style.ts";

const policy = `default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-${scriptHash}'; base-uri 'none'; form-action 'none'`;

/** The whole page. Equal documents give equal bytes. */
export function renderReport(report: ReportDocument): string {
  const data =
    report.data === undefined
      ? ""
      : `<script type="application/json" id="millrace-data">${embedJson(report.data)}</script>\n`;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="generator" content="Millrace">
<link rel="icon" href="data:,">
<title>${escapeHtml(report.title)}</title>
<style>${style}</style>
</head>
<body>
<a class="skip" href="#answer">Skip to the answer</a>
<div class="page">
${headerHtml(report)}
${tocHtml(report.sections)}
<main>
${verdictHtml(report)}
${report.sections.map(sectionHtml).join("\n")}
</main>
${footerHtml(report)}
</div>
${data}<script>${script}</script>
</body>
</html>
`;
}

function headerHtml(report: ReportDocument): string {
  const subtitle =
    report.subtitle === undefined ? "" : `\n<p class="subtitle">${inlineHtml(report.subtitle)}</p>`;
  const made = report.madeWith
    .map((f) => `<div><dt>${escapeHtml(f.label)}</dt><dd>${escapeHtml(f.value)}</dd></div>`)
    .join("");
  const command =
    report.command === undefined
      ? ""
      : `\n<p class="command"><code>${escapeHtml(report.command)}</code></p>`;
  return `<header>
<p class="eyebrow"><b>Millrace</b> · ${escapeHtml(report.kind)}</p>
<h1>${inlineHtml(report.title)}</h1>${subtitle}
${made === "" ? "" : `<dl class="made">${made}</dl>`}${command}
</header>`;
}

function tocHtml(sections: readonly Section[]): string {
  const items = [{ id: "answer", heading: "Answer" }, ...sections].map((s) => {
    const name = "short" in s && s.short !== undefined ? s.short : s.heading;
    return `<li><a href="#${escapeHtml(s.id)}">${inlineHtml(name)}</a></li>`;
  });
  return `<nav class="toc" aria-label="Contents"><ol>${items.join("")}</ol></nav>`;
}

function verdictHtml({ verdict }: ReportDocument): string {
  const detail = verdict.detail === undefined ? "" : paragraphsHtml(verdict.detail);
  return `<div class="verdict ${verdict.tone}" id="answer">
<h2>${inlineHtml(verdict.headline)}</h2>
${detail}
${figuresHtml(verdict.figures)}
</div>`;
}

function sectionHtml(section: Section): string {
  return `<section id="${escapeHtml(section.id)}">
<h2>${inlineHtml(section.heading)}</h2>
${section.blocks.map(blockHtml).join("\n")}
</section>`;
}

function footerHtml(report: ReportDocument): string {
  const made = report.madeWith.map((f) => `${f.label} ${f.value}`).join(" · ");
  return `<footer>
<p>Made by Millrace${made === "" ? "" : ` · ${escapeHtml(made)}`}</p>
<p>${escapeHtml(report.footnote ?? "Figures are simulated unless they say measured. Ranges are intervals over seeds and search steps, not guarantees.")}</p>
</footer>`;
}
