// A tagger: entities, or tags, in the text as it is written.
import { element, percent, show } from "../views.js";

const PAUSE = 120; // milliseconds after the last key

export function tags(body, model, server) {
  const field = element("textarea", { id: "text", spellcheck: "false" });
  const found = element("div", { class: "out", "aria-live": "polite" });
  let timer, asked = 0;

  async function ask() {
    const number = ++asked, text = field.value;
    if (!text.trim()) return show(found);
    try {
      const { results: [answer] } = await server.predict(model, { inputs: [text] });
      if (number === asked) show(found, ...(answer.entities.length ? entities(answer) : words(answer)));
    } catch (error) {
      server.onproblem(error.message);
    }
  }

  field.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(ask, PAUSE); });
  show(body, element("label", { for: "text" }, "Write a text; what is named in it is marked"), field, found);
  field.value = model.example.inputs[0];
  ask();
  return () => clearTimeout(timer);
}

function entities({ text, entities: named }) {
  const characters = [...text], parts = [];
  let place = 0;
  for (const one of named) {
    parts.push(characters.slice(place, one.start).join(""));
    const kind = element("small", {}, one.label);
    parts.push(element("mark", { title: percent(one.probability) }, characters.slice(one.start, one.end).join(""), kind));
    place = one.end;
  }
  return [...parts, characters.slice(place).join("")];
}

function words({ text, words: tagged }) {
  const outside = tagged.every((word) => word.tag === "O");
  if (outside) return [text];
  return tagged.flatMap((word) => [
    element("mark", { title: percent(word.probability) }, word.text, element("small", {}, word.tag)), " ",
  ]);
}
