// A language model: the surprise of every token, what is likely next, and text that is written on.
import { TextFollower } from "../connection.js";
import { bars, element, percent, show } from "../views.js";

const MOST_BITS = 12;

export function language(body, model, server) {
  const field = element("textarea", { id: "text", spellcheck: "false" });
  const tokens = element("div", { class: "out", "aria-live": "off" });
  const next = element("div", { "aria-live": "polite" });
  const write = element("button", { type: "button" }, "Write on");
  const warmth = element("input", { type: "range", id: "warmth", min: "0", max: "1.5", step: "0.1", value: "0.8" });
  let writing = null;

  const live = server.stream(model, { candidates: 8 }, (events) => {
    for (const event of events) {
      const span = element("span", { class: "token", title: `${event.token}: ${event.bits.toFixed(2)} bits` }, shown(event.token));
      const share = Math.min(event.bits / MOST_BITS, 1);
      span.style.background = `color-mix(in srgb, var(--second) ${Math.round(60 * share)}%, transparent)`;
      tokens.append(span);
    }
    const last = events.at(-1);
    if (last) show(next, bars(last.next.map((one) => [one.token, one.probability]), (token) => append(plain(token))));
  });
  const follower = new TextFollower(field, live, () => show(tokens));

  function append(text) {
    field.value += text;
    follower.follow();
    field.scrollTop = field.scrollHeight;
  }

  write.addEventListener("click", async () => {
    if (writing) return writing.abort();
    writing = new AbortController();
    write.textContent = "Stop";
    write.classList.add("going");
    try {
      const body = { prompt: field.value, max_tokens: 300, temperature: Number(warmth.value), top_p: 0.95 };
      for await (const event of server.generate(model, body, writing.signal)) {
        append(event.text);
        if (event.token) write.title = `${event.token} ${percent(event.probability)}`;
      }
    } catch (error) {
      if (error.name !== "AbortError") server.onproblem(error.message);
    } finally {
      writing = null;
      write.textContent = "Write on";
      write.classList.remove("going");
    }
  });

  show(
    body,
    element("label", { for: "text" }, "Write here; the darker a token below, the less it was expected"),
    field,
    element("div", { class: "row" }, write, element("label", { for: "warmth" }, "Temperature", warmth)),
    element("div", { class: "columns" }, tokens, next),
  );
  append(model.pushes[0] ?? "");
  return () => {
    writing?.abort();
    live.close();
  };
}

// Tokens come in printable form: a line end is ⏎, a space ␣.
const plain = (token) => token.replaceAll("⏎", "\n").replaceAll("␣", " ");
const shown = (token) => token.replaceAll("⏎", "⏎\n").replaceAll("␣", " ");
