// Pieces that panels show.

export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

export function show(parent, ...children) { parent.replaceChildren(...children); }

export const percent = (share) => `${(100 * share).toFixed(1)} %`;

// Bars of names and shares, [[name, share], …]; a click on a name is told where somebody listens.
export function bars(pairs, onclick) {
  const most = Math.max(...pairs.map(([, share]) => share));
  const cells = pairs.flatMap(([name, share]) => {
    const head = element(onclick ? "button" : "span", { class: "name", ...(onclick ? { type: "button" } : {}) }, name);
    if (onclick) head.addEventListener("click", () => onclick(name));
    const fill = element("div", { class: share === most ? "fill first" : "fill" });
    fill.style.width = `${100 * share}%`;
    return [head, element("div", { class: "track" }, fill), element("span", { class: "share" }, percent(share))];
  });
  return element("div", { class: "bars" }, ...cells);
}

export function drawn(name, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

// A picture with room for numbers on the left and below; `at` turns values into places.
export function chart({ count, low, high, width = 640, height = 240, label }) {
  const left = 52, bottom = 22, top = 10, right = 10;
  const spread = high > low ? high - low : 1;
  const at = (index, value) => [
    left + (index / Math.max(count - 1, 1)) * (width - left - right),
    top + (1 - (value - low) / spread) * (height - top - bottom),
  ];
  const picture = drawn("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
  for (const value of [low, low + spread / 2, low + spread]) {
    const y = at(0, value)[1];
    picture.append(drawn("line", { x1: left, x2: width - right, y1: y, y2: y, stroke: "var(--line)" }));
    picture.append(drawn("text", { x: left - 6, y: y + 4, "text-anchor": "end" }, String(Number(value.toPrecision(4)))));
  }
  return { picture, at, path: (pairs) => pairs.map(([x, y], index) => `${index ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("") };
}
