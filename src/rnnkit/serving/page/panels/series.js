// A classifier of series: draw with mouse or finger and see the class settle; or hear a word; or paste points.
import { listenButton } from "../microphone.js";
import { bars, element, show } from "../views.js";

const SIZE = 300; // of the drawing, in the units that are sent

export function series(body, model, server) {
  const answer = element("div", { "aria-live": "polite" });
  const fired = element("p", { class: "fired" });
  if (!model.streams) {
    show(body, element("p", {}, model.why_no_stream), pasted(model, server, answer), answer);
    return () => {};
  }
  const live = server.stream(model, { candidates: 8 }, (events) => {
    for (const event of events) if (event.fired) show(fired, `${event.label} (step ${event.step})`);
    const last = events.at(-1);
    if (last) show(answer, bars(last.candidates.map((one) => [one.label, one.probability])));
  });
  const clear = () => { live.reset(); show(answer); show(fired); };
  const [input, leave] = model.sample_rate ? heard(model, live, clear, server)
    : model.channels === 2 || model.channels === 3 ? [canvas(model, live, clear), () => {}]
    : [pasted(model, server, answer), () => {}];
  show(body, element("div", { class: "columns" }, element("div", {}, input), element("div", {}, fired, answer)));
  return () => {
    leave();
    live.close();
  };
}

// Points are x, y, and, where the model has a third channel, milliseconds since the stroke began.
function canvas(model, live, clear) {
  const board = element("canvas", { class: "draw", width: SIZE, height: SIZE, tabindex: "0", "aria-label": "Draw a gesture here" });
  const pen = board.getContext("2d");
  let began = null, before = null;
  const point = (event) => {
    const box = board.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * SIZE, ((event.clientY - box.top) / box.height) * SIZE];
  };
  const add = (event) => {
    const [x, y] = point(event);
    if (before) {
      pen.beginPath();
      pen.moveTo(...before);
      pen.lineTo(x, y);
      pen.stroke();
    }
    before = [x, y];
    return [x, y, event.timeStamp - began].slice(0, model.channels);
  };
  board.addEventListener("pointerdown", (event) => {
    board.setPointerCapture(event.pointerId);
    clear();
    pen.clearRect(0, 0, SIZE, SIZE);
    pen.strokeStyle = getComputedStyle(board).getPropertyValue("--ink");
    pen.lineWidth = 3;
    pen.lineCap = "round";
    began = event.timeStamp;
    before = null;
    live.push([add(event)]);
  });
  board.addEventListener("pointermove", (event) => {
    if (began === null) return;
    const moves = event.getCoalescedEvents?.() ?? [];
    live.push((moves.length ? moves : [event]).map(add));
  });
  const end = () => {
    if (began !== null) live.finish();
    began = null;
  };
  board.addEventListener("pointerup", end);
  board.addEventListener("pointercancel", end);
  return element("div", {}, element("p", {}, `Draw one of: ${model.labels.join(", ")}`), board);
}

function heard(model, live, clear, server) {
  const [speak, leave] = listenButton("Listen", model, live, server, clear);
  const words = element("p", {}, `Say one of: ${model.labels.join(", ")}`);
  return [element("div", {}, words, speak), leave];
}

function pasted(model, server, answer) {
  const field = element("textarea", { id: "points", spellcheck: "false" });
  const ask = element("button", { type: "button" }, "Classify");
  ask.addEventListener("click", async () => {
    try {
      const { results: [found] } = await server.predict(model, { inputs: [JSON.parse(field.value)] });
      show(answer, bars(found.candidates.map((one) => [one.label, one.probability])));
    } catch (error) {
      server.onproblem(error.message);
    }
  });
  field.value = JSON.stringify(model.example.inputs[0]);
  return element("div", {}, element("label", { for: "points" }, `Points of ${model.channels} numbers, JSON`), field, ask);
}
