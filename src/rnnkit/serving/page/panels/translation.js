// A translator: the translation, others, and what was looked at for each token.
import { element, percent, show } from "../views.js";

const PAUSE = 250; // milliseconds after the last key

export function translation(body, model, server) {
  const field = element("textarea", { id: "text" });
  const said = element("div", { class: "out", "aria-live": "polite" });
  const others = element("ol");
  const map = element("div", { class: "map", tabindex: "0", "aria-label": "Attention" });
  let timer, asked = 0;

  async function ask() {
    const number = ++asked;
    if (!field.value.trim()) return show(said), show(others), show(map);
    try {
      const body = { inputs: [field.value], beam: 5, candidates: 3, align: true };
      const { results: [answer] } = await server.predict(model, body);
      if (number !== asked) return;
      show(said, answer.text);
      show(others, ...answer.alternatives.slice(1).map((one) => element("li", {}, one.text)));
      show(map, ...(answer.alignment ? [attention(answer.alignment)] : []));
    } catch (error) {
      server.onproblem(error.message);
    }
  }

  field.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(ask, PAUSE); });
  show(
    body,
    element("label", { for: "text" }, "Write a sentence"), field, said,
    element("h2", {}, "Other translations"), others,
    element("h2", {}, "Attention"), map,
  );
  field.value = model.example.inputs[0];
  ask();
  return () => clearTimeout(timer);
}

// A row for each token of the translation: how much of its look was at each token of the text.
function attention({ source, target, weights }) {
  const head = element("tr", {}, element("td"), ...source.map((token) => element("th", { scope: "col" }, token)));
  const rows = target.map((token, row) => {
    const cells = source.map((_, column) => {
      const cell = element("td", { title: `${token} ← ${source[column]}: ${percent(weights[row][column])}` });
      cell.style.background = `color-mix(in srgb, var(--main) ${Math.round(100 * weights[row][column])}%, var(--soft))`;
      return cell;
    });
    return element("tr", {}, element("th", { scope: "row" }, token), ...cells);
  });
  return element("table", { class: "map" }, element("thead", {}, head), element("tbody", {}, ...rows));
}
