/** The one style sheet of a report: a quiet page, system fonts, tabular numbers, light, dark and print. */
import { roleColours, seriesColours } from "../charts/palette.ts";

function variables(mode: "light" | "dark"): string {
  const roles = Object.entries(roleColours).map(([name, c]) => `--mr-${name}:${c[mode]}`);
  const series = seriesColours.map((c, i) => `--mr-s${i + 1}:${c[mode]}`);
  const page =
    mode === "light"
      ? [
          "--page:#ffffff",
          "--tint:#f5f7fa",
          "--soft:#eef3fa",
          "--warn:#8a5a00",
          "--warn-tint:#fdf6e7",
          "--bad-tint:#fcf0ef",
          "--good-tint:#eef8f3",
        ]
      : [
          "--page:#14171d",
          "--tint:#1b1f27",
          "--soft:#1e2938",
          "--warn:#e3b661",
          "--warn-tint:#282318",
          "--bad-tint:#2b1d1d",
          "--good-tint:#17261f",
        ];
  return [...roles, ...series, ...page, `color-scheme:${mode}`].join(";");
}

/** The style sheet, without the element around it. */
export const style = `
:root{${variables("light")}}
@media screen and (prefers-color-scheme:dark){:root{${variables("dark")}}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;scroll-padding-top:64px;scroll-behavior:smooth}
body{margin:0;background:var(--page);color:var(--mr-ink);font:16px/1.6 ui-sans-serif,system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;font-variant-numeric:tabular-nums;text-rendering:optimizeLegibility}
a{color:inherit}
code,pre{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"Liberation Mono",monospace;font-size:.875em}
:focus-visible{outline:2px solid var(--mr-s1);outline-offset:2px;border-radius:3px}
.skip{position:absolute;left:-999px}
.skip:focus{left:16px;top:16px;background:var(--page);padding:8px 12px;z-index:9}
.page{max-width:928px;margin:0 auto;padding:0 24px 96px;display:grid;grid-template-columns:minmax(0,1fr)}
header{padding:64px 0 40px}
.eyebrow{margin:0 0 20px;font-size:13px;font-weight:600;letter-spacing:.02em;color:var(--mr-muted)}
.eyebrow b{color:var(--mr-ink);font-weight:700}
h1{margin:0;font-size:clamp(28px,5vw,40px);line-height:1.15;letter-spacing:-.022em;font-weight:700;text-wrap:balance;overflow-wrap:anywhere}
.subtitle{margin:12px 0 0;font-size:18px;line-height:1.5;color:var(--mr-muted);max-width:66ch;overflow-wrap:anywhere}
.made{margin:24px 0 0;display:flex;flex-wrap:wrap;gap:4px 24px;font-size:13px;color:var(--mr-muted)}
.made div{display:flex;gap:6px}.made dt,.made dd{margin:0;overflow-wrap:anywhere}.made dd{color:var(--mr-ink)}
.command{margin:12px 0 0;font-size:13px;color:var(--mr-muted);overflow-wrap:anywhere}
.command code{font-size:13px}
.command::before{content:"$ ";user-select:none}
.verdict{padding:32px;border-radius:14px;background:var(--tint)}
.verdict.good{background:var(--good-tint)}.verdict.bad{background:var(--bad-tint)}.verdict.warning{background:var(--warn-tint)}
.verdict h2{margin:0;font-size:clamp(20px,3.2vw,26px);line-height:1.32;letter-spacing:-.014em;font-weight:650;text-wrap:pretty;max-width:44ch;overflow-wrap:anywhere}
.verdict p{margin:12px 0 0;max-width:68ch;color:var(--mr-muted);overflow-wrap:anywhere}
.figures{display:grid;grid-template-columns:repeat(auto-fill,minmax(148px,1fr));gap:28px 24px;margin:32px 0 0}
.figures div{min-width:0}
.figures dt{font-size:13px;color:var(--mr-muted);line-height:1.4}
.figures dd{margin:4px 0 0;font-size:25px;line-height:1.2;font-weight:620;letter-spacing:-.016em;overflow-wrap:anywhere}
.figures dd .unit{white-space:nowrap;font-size:14px;font-weight:450;letter-spacing:0;color:var(--mr-muted)}
.figures dd.sub{font-size:12.5px;font-weight:400;letter-spacing:0;color:var(--mr-muted);line-height:1.4}
.figures .good dd:not(.sub){color:var(--mr-good)}.figures .bad dd:not(.sub){color:var(--mr-bad)}
.toc{position:sticky;top:0;z-index:5;background:var(--page);margin:0 -24px;padding:0 24px;border-bottom:1px solid var(--mr-grid)}
.toc ol{display:flex;gap:24px;list-style:none;margin:0;padding:0;overflow-x:auto;scrollbar-width:none}
.toc a{display:block;padding:14px 0;font-size:13px;white-space:nowrap;text-decoration:none;color:var(--mr-muted)}
.toc a:hover,.toc a[aria-current]{color:var(--mr-ink)}
.toc a[aria-current]{box-shadow:inset 0 -2px var(--mr-s1)}
main{min-width:0;padding-top:28px}
section{padding-top:72px}
section>h2{margin:0 0 20px;font-size:24px;line-height:1.25;letter-spacing:-.016em;font-weight:680;overflow-wrap:anywhere}
section>p,section>ul{max-width:70ch;overflow-wrap:anywhere}
p{margin:0 0 16px}
ul{margin:0 0 16px;padding-left:20px}li{margin:4px 0}li::marker{color:var(--mr-muted)}
code{overflow-wrap:anywhere}td.code code{overflow-wrap:break-word}
.note{font-size:13.5px;line-height:1.55;color:var(--mr-muted);max-width:76ch;margin:10px 0 0}
section>.note{margin:16px 0}
.table,.charts,.callout,.code,details,section>.figures,section>.facts{margin:28px 0 0}
.caption,figcaption{margin:0 0 12px;font-size:14px;font-weight:620;line-height:1.4}
.scroll{overflow-x:auto;max-width:100%;background:linear-gradient(to right,var(--page) 40%,transparent) 0 0/32px 100% no-repeat local,linear-gradient(to left,var(--page) 40%,transparent) 100% 0/32px 100% no-repeat local,linear-gradient(to right,var(--mr-grid),transparent) 0 0/12px 100% no-repeat scroll,linear-gradient(to left,var(--mr-grid),transparent) 100% 0/12px 100% no-repeat scroll}
table{border-collapse:collapse;width:100%;font-size:14px;line-height:1.4}
thead th{font-size:12.5px;font-weight:550;color:var(--mr-muted);text-align:left;vertical-align:bottom;border-bottom:1px solid var(--mr-muted);padding:0 12px 8px}
th .unit{font-weight:400}th.number .unit{display:block}
tbody td,tbody th{padding:9px 12px;border-bottom:1px solid var(--mr-grid);text-align:left;vertical-align:top;font-weight:400}
tbody th{font-weight:550}
tr>:first-child{padding-left:0}tr>:last-child{padding-right:0}
.number{text-align:right;white-space:nowrap}.check{text-align:center;white-space:nowrap}
thead th.number,thead th.check,tbody td.number{text-align:right}thead th.check,tbody td.check{text-align:center}
thead th{white-space:nowrap}td.text{min-width:96px;overflow-wrap:break-word}tbody th.text{min-width:168px;overflow-wrap:break-word}
.sub{display:block;font-size:12px;font-weight:400;color:var(--mr-muted)}
td.bar::after{content:"";display:block;height:3px;margin:5px 0 1px auto;border-radius:2px;width:calc(100%*var(--w));background:var(--mr-s1);opacity:.55}
tr.emphasis>*{background:var(--soft);font-weight:600}
tr.emphasis>:first-child{box-shadow:-12px 0 var(--soft);border-radius:6px 0 0 6px}
tr.emphasis>:last-child{box-shadow:12px 0 var(--soft);border-radius:0 6px 6px 0}
.mark{font-weight:700;font-family:"DejaVu Sans","Segoe UI Symbol","Apple Symbols",sans-serif}
.mark.good{color:var(--mr-good)}.mark.bad{color:var(--mr-bad)}
thead button{all:unset;cursor:pointer}
thead button:hover{color:var(--mr-ink)}thead button:focus-visible{outline:2px solid var(--mr-s1);outline-offset:2px}
th[aria-sort] button{color:var(--mr-ink)}
th[aria-sort=ascending] button::after{content:" ↑"}th[aria-sort=descending] button::after{content:" ↓"}
.filter{display:block;width:220px;max-width:100%;margin:0 0 16px;padding:7px 12px;font:inherit;font-size:14px;color:inherit;background:var(--page);border:1px solid var(--mr-grid);border-radius:8px}
.charts{display:grid;gap:40px 24px;grid-template-columns:minmax(0,1fr)}
figure{margin:0;min-width:0}
figure svg{display:block;width:100%;height:auto;overflow:visible}
figure svg text{white-space:pre}
.callout{padding:20px 24px;border-radius:12px;background:var(--tint);font-size:15px}
.callout.warning{background:var(--warn-tint)}.callout.bad{background:var(--bad-tint)}.callout.good{background:var(--good-tint)}
.callout-title{margin:0;font-weight:620}.callout.warning .callout-title{color:var(--warn)}.callout.bad .callout-title{color:var(--mr-bad)}.callout.good .callout-title{color:var(--mr-good)}
.callout ul{margin:8px 0 0}.callout{overflow-wrap:anywhere}
.code{position:relative}
pre{margin:0;padding:16px 20px;border-radius:10px;background:var(--tint);overflow-x:auto;line-height:1.55;font-size:13px;tab-size:2}
pre code{font-size:inherit;overflow-wrap:normal}
.copy{position:absolute;right:8px;margin-top:8px;padding:3px 10px;font:inherit;font-size:12px;color:var(--mr-muted);background:var(--page);border:1px solid var(--mr-grid);border-radius:6px;cursor:pointer}
.copy:hover{color:var(--mr-ink)}
.facts{font-size:14px}
.facts div{display:grid;grid-template-columns:minmax(120px,220px) minmax(0,1fr);gap:16px;padding:7px 0;border-bottom:1px solid var(--mr-grid)}
.facts dt{color:var(--mr-muted)}.facts dd{margin:0;overflow-wrap:anywhere}
details{border-top:1px solid var(--mr-grid);border-bottom:1px solid var(--mr-grid)}
details+details{margin-top:-1px}
summary{padding:14px 0;cursor:pointer;font-weight:550;font-size:15px}
summary::marker{color:var(--mr-muted)}
.inside{padding:0 0 20px}.inside>:first-child{margin-top:0}
footer{margin-top:88px;padding-top:20px;border-top:1px solid var(--mr-grid);font-size:13px;color:var(--mr-muted);overflow-wrap:anywhere}
footer p{margin:0 0 4px}
@media (min-width:720px){.charts.columns-2{grid-template-columns:repeat(2,minmax(0,1fr))}}
@media (max-width:719px){tbody th.text{min-width:128px}.figures dd .unit{font-size:13px}header{padding:40px 0 28px}.verdict{padding:24px 20px}section{padding-top:56px}.page{padding:0 20px 72px}.toc{margin:0 -20px;padding:0 20px}.figures{grid-template-columns:repeat(2,minmax(0,1fr));gap:24px 16px}.figures dd{font-size:21px}.columns-1 figure svg{min-width:600px}.facts div{grid-template-columns:minmax(0,1fr);gap:0}}
@media (min-width:1200px){.page{max-width:1168px;grid-template-columns:184px minmax(0,880px);column-gap:56px}.page>*{grid-column:2}main{padding-top:0}.toc{grid-column:1;grid-row:1/span 3;position:static;margin:0;padding:0;border:0}.toc ol{position:sticky;top:0;display:block;padding:68px 0 32px;max-height:100vh;overflow-y:auto}.toc a{padding:5px 0;white-space:normal;line-height:1.4}.toc a[aria-current]{box-shadow:none;font-weight:620}}
@media print{@page{margin:16mm 14mm}body{font-size:10.5pt}.toc,.filter,.copy,.skip{display:none}.page{display:block;max-width:none;padding:0}header{padding:0 0 20px}section{padding-top:28px}h2,figcaption,.caption{break-after:avoid}figure,.callout,.verdict,tr{break-inside:avoid}.scroll{overflow:visible;background:none}thead{display:table-header-group}details::details-content{content-visibility:visible;height:auto}.verdict,.callout,tr.emphasis>*,td.bar::after,svg *{print-color-adjust:exact;-webkit-print-color-adjust:exact}pre{white-space:pre-wrap}table{font-size:8.5pt}tbody td,tbody th,thead th{padding-left:5px;padding-right:5px}}
@media (prefers-reduced-motion:reduce){html{scroll-behavior:auto}}
.raster{margin:24px 0;min-width:0}
.raster figcaption{font-weight:620;margin:0 0 4px}
.raster canvas{display:block;width:100%;height:320px;cursor:crosshair;touch-action:pan-y;border-radius:6px;background:var(--tint)}
.raster-told{min-height:1.6em;margin:6px 0 0;font-size:13px;color:var(--mr-muted)}
`.trim();
