// The page's frame: which models there are, and the panel of the one that is tried.
import { Server } from "./connection.js";
import { element, show } from "./views.js";
import { labels } from "./panels/labels.js";
import { language } from "./panels/language.js";
import { tags } from "./panels/tags.js";
import { translation } from "./panels/translation.js";
import { speech } from "./panels/speech.js";
import { forecast } from "./panels/forecast.js";
import { series } from "./panels/series.js";

const PANELS = {
  "language-model": language,
  "text-classification": labels,
  "tagging": tags,
  "translation": translation,
  "speech": speech,
  "forecasting": forecast,
  "series-classification": series,
};

const panel = document.getElementById("panel");
const server = new Server(document.getElementById("latency"));
let leave = () => {};

function open(model) {
  leave();
  server.forget();
  for (const button of document.querySelectorAll("#models button")) {
    button.toggleAttribute("aria-current", button.textContent === model.name);
    if (button.textContent === model.name) button.setAttribute("aria-current", "page");
  }
  location.hash = model.name;
  const numbers = `${model.task}, ${model.layer}, ${model.parameters.toLocaleString("en")} parameters`;
  const problem = element("p", { class: "error", role: "alert" });
  const body = element("section");
  show(panel, element("h2", {}, model.name), element("p", { class: "about" }, numbers), body, problem);
  server.onproblem = (text) => { problem.textContent = text; };
  leave = PANELS[model.task](body, model, server) ?? (() => {});
}

function askForKey() {
  const field = element("input", { type: "password", id: "key", autocomplete: "off" });
  const form = element("form", { class: "row" }, element("label", { for: "key" }, "API key"), field, element("button", {}, "Enter"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    server.key = field.value;
    begin();
  });
  show(panel, element("p", {}, "This server wants a key."), form);
  field.focus();
}

async function begin() {
  let models;
  try {
    ({ models } = await server.get("/v1/models"));
  } catch (error) {
    if (error.status === 401) return askForKey();
    return show(panel, element("p", { class: "error", role: "alert" }, error.message));
  }
  const buttons = models.map((model) => {
    const button = element("button", { type: "button" }, model.name);
    button.addEventListener("click", () => open(model));
    return button;
  });
  show(document.getElementById("models"), ...buttons);
  open(models.find((model) => model.name === decodeURIComponent(location.hash.slice(1))) ?? models[0]);
}

begin();
