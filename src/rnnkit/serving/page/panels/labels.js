// A classifier of texts: the label as the text grows.
import { TextFollower } from "../connection.js";
import { bars, chart, drawn, element, show } from "../views.js";

export function labels(body, model, server) {
  const field = element("textarea", { id: "text" });
  const answer = element("div", { "aria-live": "polite" });
  const course = element("div");
  let events = [];

  function draw() {
    const last = events.at(-1);
    if (!last) return show(answer), show(course);
    show(answer, bars(last.candidates.map((one) => [one.label, one.probability])));
    const label = last.label;
    const share = (event) => event.candidates.find((one) => one.label === label)?.probability ?? 0;
    const { picture, at, path } = chart({ count: events.length, low: 0, high: 1, label: `Probability of ${label} after each token` });
    const places = events.map((event, index) => at(index, share(event)));
    picture.append(drawn("path", { d: path(places), fill: "none", stroke: "var(--main)", "stroke-width": 2 }));
    places.forEach(([x, y], index) => {
      const dot = drawn("circle", { cx: x, cy: y, r: 4, fill: "var(--main)" });
      dot.append(drawn("title", {}, events[index].token));
      picture.append(dot);
    });
    show(course, element("p", { class: "about" }, `${label} after each token`), picture);
  }

  show(body, element("label", { for: "text" }, "Write a text; it is judged as you type"), field, answer, course);
  if (!model.streams) return judgeWhole(field, model, server, answer);
  const live = server.stream(model, { candidates: 20 }, (news) => {
    events.push(...news);
    draw();
  });
  const follower = new TextFollower(field, live, () => { events = []; draw(); });
  field.value = model.example.inputs[0];
  follower.follow();
  return () => live.close();
}

// A model that reads backwards too is asked anew after every pause.
function judgeWhole(field, model, server, answer) {
  let timer;
  const ask = async () => {
    if (!field.value.trim()) return show(answer);
    try {
      const { results: [found] } = await server.predict(model, { inputs: [field.value], candidates: 20 });
      show(answer, bars(found.candidates.map((one) => [one.label, one.probability])));
    } catch (error) {
      server.onproblem(error.message);
    }
  };
  field.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(ask, 150); });
  field.value = model.example.inputs[0];
  ask();
  return () => clearTimeout(timer);
}
