// Measures a page in a frame, and sends the result to the page around it as JSON.
(() => {
  const root = document.documentElement;
  const found = { errors: [], overlaps: [], outside: [], contrast: [], unreachable: [], links: [] };
  document.querySelectorAll("details").forEach((one) => { one.open = true; });
  addEventListener("error", (event) => found.errors.push(String(event.message)));
  found.width = innerWidth;
  found.scrollWidth = root.scrollWidth;
  found.clientWidth = root.clientWidth;
  found.dark = matchMedia("(prefers-color-scheme: dark)").matches;
  found.resources = performance.getEntriesByType("resource").map((entry) => entry.name);
  found.headings = [...document.querySelectorAll("h1, h2, h3, h4, h5, h6")].map((one) => Number(one.tagName[1]));

  const number = (text) => text.match(/[\d.]+/g).map(Number);
  const over = (top, below) => top.slice(0, 3).map((value, at) => value * top[3] + below[at] * (1 - top[3]));
  const colour = (text) => { const parts = number(text); return [parts[0], parts[1], parts[2], parts[3] ?? 1]; };
  const ground = (element) => {
    const layers = [];
    for (let one = element; one; one = one.parentElement) {
      const layer = colour(getComputedStyle(one).backgroundColor);
      if (layer[3] > 0) layers.push(layer);
    }
    return layers.reverse().reduce((below, top) => over(top, below), found.dark ? [18, 18, 18] : [255, 255, 255]);
  };
  const luminance = (rgb) => {
    const [r, g, b] = rgb.map((value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };

  const texts = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement;
    const text = node.textContent.trim();
    if (!text || ["SCRIPT", "STYLE"].includes(element.tagName) || element.closest(".hidden, thead")) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    // Scrolled parts of a <pre> are cut where it ends.
    const frame = element.closest("pre")?.getBoundingClientRect();
    for (const rect of range.getClientRects()) {
      if (rect.width < 1 || rect.height < 1) continue;
      const right = frame ? Math.min(rect.right, frame.right) : rect.right;
      texts.push({ text: text.slice(0, 40), element, left: rect.left, right, top: rect.top, bottom: rect.bottom });
    }
  }
  found.texts = texts.length;
  for (const one of texts) {
    if (one.right > root.clientWidth + 1 || one.left < 0) found.outside.push(one.text);
  }
  texts.sort((one, other) => one.top - other.top);
  texts.forEach((one, at) => {
    for (let next = at + 1; next < texts.length && texts[next].top < one.bottom - 2; next++) {
      const other = texts[next];
      const isBeside = other.left >= one.right - 1 || one.left >= other.right - 1;
      if (!isBeside && other.bottom > one.top + 2) found.overlaps.push(`${one.text} | ${other.text}`);
    }
  });
  found.least = 21;
  for (const element of new Set(texts.map((one) => one.element))) {
    const style = getComputedStyle(element);
    const below = ground(element);
    const [light, dark] = [luminance(over(colour(style.color), below)), luminance(below)].sort((a, b) => b - a);
    const ratio = (light + 0.05) / (dark + 0.05);
    found.least = Math.min(found.least, ratio);
    if (ratio < 4.5) found.contrast.push(`${ratio.toFixed(2)} ${element.className} ${element.textContent.trim().slice(0, 30)}`);
  }
  const reachable = [...document.querySelectorAll("a[href], summary, [tabindex='0']")];
  found.reachable = reachable.length;
  for (const element of reachable) {
    element.focus({ preventScroll: true });
    if (document.activeElement !== element) found.unreachable.push(element.textContent.slice(0, 40));
    else if (getComputedStyle(element).outlineStyle === "none") found.unreachable.push(`no outline: ${element.textContent.slice(0, 40)}`);
  }
  for (const link of document.querySelectorAll("a[href]")) {
    const target = link.getAttribute("href");
    if (!target.startsWith("#") || !document.getElementById(target.slice(1))) found.links.push(target);
  }
  for (const pre of document.querySelectorAll("pre, div, ul, ol, table")) {
    const scrolls = pre.scrollWidth > pre.clientWidth + 1 && getComputedStyle(pre).overflowX === "auto";
    if (scrolls && pre.tabIndex < 0) found.unreachable.push(`scrolls: ${pre.textContent.slice(0, 40)}`);
  }
  parent.postMessage(JSON.stringify(found), "*");
})();
