// A recogniser: partial text while you speak, final text when you pause.
import { listenButton, packets } from "../microphone.js";
import { element, show } from "../views.js";

export function speech(body, model, server) {
  const file = element("input", { type: "file", id: "file", accept: "audio/*" });
  const final = element("span");
  const partial = element("span", { class: "partial" });
  const words = element("ol");

  const live = model.streams && server.stream(model, {}, (events) => {
    for (const event of events) {
      if (event.kind === "partial") show(partial, event.text);
      else {
        final.append(`${event.text} `);
        show(partial);
        words.append(element("li", {}, event.words.map((word) => `${word.text} ${word.start.toFixed(2)} s`).join(", ")));
      }
    }
  });

  const [speak, leave] = listenButton("Speak", model, live, server, () => live.reset());
  speak.disabled = !model.streams;
  file.addEventListener("change", async () => {
    if (!file.files.length) return;
    show(final);
    show(words);
    try {
      if (live) {
        live.reset();
        for (const packet of await packets(file.files[0], model.sample_rate)) live.push(packet);
        live.finish();
      } else {
        const bytes = new Uint8Array(await file.files[0].arrayBuffer());
        const audio = btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
        const { results: [answer] } = await server.predict(model, { inputs: [{ audio }] });
        show(final, answer.text);
      }
    } catch (error) {
      server.onproblem(`The recording cannot be read: ${error.message}`);
    }
  });
  show(
    body,
    element("div", { class: "row" }, speak, element("label", { for: "file" }, "or a recording", file)),
    element("p", { class: "out", "aria-live": "polite" }, final, partial),
    element("h2", {}, "When each word was said"), words,
  );
  return () => {
    leave();
    if (live) live.close();
  };
}
