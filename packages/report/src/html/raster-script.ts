/** Draws rasters (raster.ts) on canvases. Part of the page's script. */

/** Scrolling zooms in time, dragging moves, a double click shows all; hovering names request, time and lateness. */
export const rasterScript = `
  for (const figure of document.querySelectorAll(".raster")) {
    const bytes = Uint8Array.from(atob(figure.querySelector("script").textContent), (c) => c.charCodeAt(0));
    const names = JSON.parse(figure.querySelector(".raster-names").textContent);
    let at = 0;
    const number = () => {
      let value = 0, scale = 1;
      for (;;) {
        const byte = bytes[at++];
        value += (byte & 127) * scale;
        if (byte < 128) return value;
        scale *= 128;
      }
    };
    const count = number(), tbt = number();
    const rows = [];
    let end = 1;
    for (let i = 0; i < count; i++) {
      const start = number(), ttft = number(), failed = number() === 1, n = number();
      const time = new Float64Array(n), late = new Float64Array(n);
      let now = 0, slack = 0, before = 0, first = true;
      for (let k = 0; k < n; k++) {
        const code = number();
        const tokens = code % 2 === 1 ? number() : 1;
        now += Math.floor(code / 2);
        time[k] = start + now;
        if (tokens > 0) {
          slack += (first ? ttft : tbt) - (now - before);
          first = false;
          before = now;
          if (slack < 0) { late[k] = -slack; slack = 0; }
          slack += (tokens - 1) * tbt;
        }
      }
      end = Math.max(end, start + now);
      rows.push({ start, ttft, failed, time, late });
    }
    const canvas = figure.querySelector("canvas"), told = figure.querySelector(".raster-told");
    const paint = canvas.getContext("2d");
    const axis = 22, style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    let from = 0, to = end * 1.01;
    const draw = () => {
      const ratio = devicePixelRatio || 1, width = canvas.clientWidth;
      const line = Math.max(1, Math.min(14, Math.floor(640 / Math.max(1, rows.length))));
      const height = Math.max(80, Math.min(720, rows.length * line)) + axis;
      canvas.style.height = height + "px";
      canvas.width = width * ratio;
      canvas.height = height * ratio;
      paint.setTransform(ratio, 0, 0, ratio, 0, 0);
      const x = (t) => ((t - from) / (to - from)) * width;
      const tall = (height - axis) / Math.max(1, rows.length);
      const muted = colour("--mr-muted"), bad = colour("--mr-bad"), good = colour("--mr-s1"), faint = colour("--mr-grid");
      paint.font = "11px system-ui,sans-serif";
      paint.textBaseline = "bottom";
      const span = (to - from) / 1e4;
      const step = [.001,.002,.005,.01,.02,.05,.1,.2,.5,1,2,5,10,20,50,100,200,500,1000,2000,5000].find((s) => s * width / span >= 80) || 10000;
      for (let s = Math.ceil(from / 1e4 / step) * step; s * 1e4 <= to; s += step) {
        paint.fillStyle = faint;
        paint.globalAlpha = .5;
        paint.fillRect(x(s * 1e4), 0, 1, height - axis);
        paint.globalAlpha = 1;
        paint.fillStyle = muted;
        paint.fillText(Number(s.toFixed(3)) + " s", x(s * 1e4) + 3, height - 3);
      }
      rows.forEach((row, i) => {
        const top = i * tall, high = Math.max(1, tall - (tall > 4 ? 1 : 0));
        const begin = row.time.length > 0 ? row.time[0] : row.start;
        paint.fillStyle = faint;
        paint.fillRect(x(row.start), top + high / 2, Math.max(1, x(begin) - x(row.start)), 1);
        let last = -9, lastLate = -9;
        for (let k = 0; k < row.time.length; k++) {
          const px = x(row.time[k]);
          if (px < -2 || px > width + 2) continue;
          if (row.late[k] > 0) {
            const w = Math.max(1.5, Math.min(px + 2, (row.late[k] / (to - from)) * width));
            if (px - lastLate < .4 && w < 2) continue;
            paint.fillStyle = bad;
            paint.fillRect(px - w, top, w, high);
            lastLate = px;
          } else {
            if (px - last < .4) continue;
            paint.fillStyle = good;
            paint.fillRect(px, top, Math.max(.6, Math.min(2, width / (to - from) * 40)), high);
            last = px;
          }
        }
        if (row.failed) {
          paint.fillStyle = bad;
          const px = x(row.time.length > 0 ? row.time[row.time.length - 1] : row.start + row.ttft);
          paint.fillText("\\u00d7", px + 2, top + Math.max(10, high));
        }
      });
    };
    const timeAt = (event) => from + ((event.offsetX) / canvas.clientWidth) * (to - from);
    canvas.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !event.shiftKey && !event.altKey) return;
      event.preventDefault();
      const t = timeAt(event), by = event.deltaY + event.deltaX > 0 ? 1.25 : .8;
      from = Math.max(0, t - (t - from) * by);
      to = Math.min(end * 1.01, t + (to - t) * by);
      draw();
    }, { passive: false });
    let held = null;
    canvas.addEventListener("pointerdown", (event) => { held = timeAt(event); canvas.setPointerCapture(event.pointerId); });
    canvas.addEventListener("pointerup", () => { held = null; });
    canvas.addEventListener("dblclick", () => { from = 0; to = end * 1.01; draw(); });
    canvas.addEventListener("pointermove", (event) => {
      if (held !== null) {
        const by = held - timeAt(event), room = Math.max(-from, Math.min(by, end * 1.01 - to));
        from += room; to += room;
        draw();
        return;
      }
      const i = Math.floor((event.offsetY / (canvas.clientHeight - axis)) * rows.length), row = rows[i];
      if (!row) { told.textContent = ""; return; }
      const t = timeAt(event);
      let near = -1;
      row.time.forEach((at, k) => { if (near < 0 || Math.abs(at - t) < Math.abs(row.time[near] - t)) near = k; });
      const ms = (v) => (v / 10).toFixed(1) + " ms";
      told.textContent = names[i] + (near < 0 ? ": no tokens" : ": chunk " + (near + 1) + " of " + row.time.length + " at " + (row.time[near] / 1e4).toFixed(3) + " s, " + (near > 0 ? ms(row.time[near] - row.time[near - 1]) + " after the one before" : ms(row.time[0] - row.start) + " after it was due") + (row.late[near] > 0 ? ", " + ms(row.late[near]) + " late" : ", on time"));
    });
    addEventListener("resize", draw);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
    draw();
  }
`;
