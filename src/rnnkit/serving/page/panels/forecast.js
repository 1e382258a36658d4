// A forecaster: a chart that every new value moves on.
import { chart, drawn, element, show } from "../views.js";

const SHOWN = 60; // steps
const PAUSE = 400; // milliseconds between values that the page makes up

export function forecast(body, model, server) {
  const series = element("select", { id: "series" }, ...model.series.map((name) => element("option", {}, name)));
  const value = element("input", { id: "value", inputmode: "decimal", size: "10", autocomplete: "off" });
  const play = element("button", { type: "button", title: "Values drawn from each forecast's own distribution" }, "Make up values");
  const picture = element("div");
  const said = element("p", { "aria-live": "polite" });
  let ticks = [], ahead = null, live = null, timer = null;

  function draw() {
    if (!ahead) return;
    const past = ticks.slice(-SHOWN);
    const low = ahead.quantiles["0.1"], high = ahead.quantiles["0.9"];
    const all = [...past.flatMap((tick) => [tick.value, tick.low, tick.high]), ...low, ...high].filter((one) => one !== null);
    const count = past.length + ahead.median.length;
    const least = Math.min(...all), most = Math.max(...all);
    const { picture: made, at, path } = chart({ count, low: least, high: most, label: `Values and forecast of ${ahead.series}` });
    const place = (index, number) => at(past.length + index, number);
    const fan = [...high.map((one, index) => place(index, one)), ...low.map((one, index) => place(index, one)).reverse()];
    made.append(drawn("path", { d: `${path(fan)}Z`, fill: "var(--main)", opacity: 0.2 }));
    const line = (pairs, colour) => made.append(drawn("path", { d: path(pairs), fill: "none", stroke: colour, "stroke-width": 2 }));
    line(ahead.median.map((one, index) => place(index, one)), "var(--main)");
    line(past.flatMap((tick, index) => (tick.value === null ? [] : [at(index, tick.value)])), "var(--ink)");
    show(picture, made);
    const last = past.at(-1);
    if (!last) return show(said, `The next step is expected at ${number(ahead.median[0])}, between ${number(low[0])} and ${number(high[0])}.`);
    const errors = last.error === null ? "" : ` Off by ${number(last.error)} on average, the last value by ${number(last.naive_error)}.`;
    show(said, `${last.time}: ${number(last.value)}, expected ${number(last.expected)}; next ${number(ahead.median[0])}.${errors}`);
  }

  async function begin() {
    live?.close();
    ticks = [];
    try {
      const { results: [found] } = await server.predict(model, { inputs: [series.value] });
      ahead = found;
      draw();
    } catch (error) {
      return server.onproblem(error.message);
    }
    live = server.stream(model, { series: series.value }, (events) => {
      ticks.push(...events);
      if (events.length) ahead = events.at(-1).forecast;
      draw();
    });
  }

  const form = element("form", { class: "row" },
    element("label", { for: "series" }, "Series", series),
    element("label", { for: "value" }, "Next value", value),
    element("button", {}, "Add"), play);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const text = value.value.trim();
    const given = text === "" ? null : Number(text);
    if (Number.isNaN(given)) return server.onproblem(`${text} is no number; leave it empty where a value is missing`);
    server.onproblem("");
    live?.push([given]);
    value.value = "";
  });
  play.addEventListener("click", () => {
    if (timer) {
      clearInterval(timer);
      timer = null;
    } else {
      timer = setInterval(() => ahead && live?.push([drawnFrom(ahead)]), PAUSE);
    }
    play.classList.toggle("going", timer !== null);
  });
  series.addEventListener("change", begin);
  show(body, form, picture, said);
  begin();
  return () => {
    clearInterval(timer);
    live?.close();
  };
}

const number = (value) => (value === null ? "missing" : String(Number(value.toPrecision(5))));

function drawnFrom(ahead) {
  const levels = Object.keys(ahead.quantiles).map(Number).sort((one, other) => one - other);
  const share = levels[0] + Math.random() * (levels.at(-1) - levels[0]);
  const above = levels.findIndex((level) => level >= share);
  const of = (index) => ahead.quantiles[String(levels[index])][0];
  const part = (share - levels[above - 1]) / (levels[above] - levels[above - 1]);
  return of(above - 1) + part * (of(above) - of(above - 1));
}
