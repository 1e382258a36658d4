// A recogniser: partial text while you speak, final text when you pause.
import { listen, packets } from "../microphone.js";
import { element, show } from "../views.js";

export function speech(body, model, server) {
  const speak = element("button", { type: "button" }, "Speak");
  const file = element("input", { type: "file", id: "file", accept: "audio/*" });
  const final = element("span");
  const partial = element("span", { class: "partial" });
  const words = element("ol");
  let microphone = null;

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

  async function toggle() {
    if (microphone) {
      microphone.stop();
      microphone = null;
      live.finish();
    } else {
      try {
        live.reset();
        microphone = await listen(model.sample_rate, (packet) => live.push(packet));
      } catch (error) {
        return server.onproblem(`The microphone cannot be heard: ${error.message}`);
      }
    }
    speak.textContent = microphone ? "Stop" : "Speak";
    speak.classList.toggle("going", microphone !== null);
  }

  speak.disabled = !model.streams;
  speak.addEventListener("click", toggle);
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
    microphone?.stop();
    if (live) live.close();
  };
}
