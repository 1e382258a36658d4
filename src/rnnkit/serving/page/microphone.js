// Sound from the microphone, or of a file, as 16-bit samples at a model's rate.

import { element } from "./views.js";

const PACKET_SECONDS = 0.04;

// Give packets to `onpacket` until `stop` is called. The browser resamples to the rate of its audio context.
async function listen(rate, onpacket) {
  const sound = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1, echoCancellation: true } });
  const context = new AudioContext({ sampleRate: rate });
  await context.audioWorklet.addModule("/page/capture.js");
  const packet = Math.round(PACKET_SECONDS * rate);
  const capture = new AudioWorkletNode(context, "capture", { processorOptions: { packet } });
  capture.port.onmessage = (message) => onpacket(message.data);
  context.createMediaStreamSource(sound).connect(capture);
  return {
    stop() {
      for (const track of sound.getTracks()) track.stop();
      context.close();
    },
  };
}

// A button that begins to listen and ends: `begin` is called first, packets go to a live stream, which is finished at the
// end. Returns the button and what stops the microphone when the panel is left.
export function listenButton(word, model, live, server, begin) {
  const button = element("button", { type: "button" }, word);
  let microphone = null;
  button.addEventListener("click", async () => {
    if (microphone) {
      microphone.stop();
      microphone = null;
      live.finish();
    } else {
      try {
        begin();
        microphone = await listen(model.sample_rate, (packet) => live.push(packet));
      } catch (error) {
        return server.onproblem(`The microphone cannot be heard: ${error.message}`);
      }
    }
    button.textContent = microphone ? "Stop" : word;
    button.classList.toggle("going", microphone !== null);
  });
  return [button, () => microphone?.stop()];
}

// Decode a recording; the packets of its first channel come at once.
export async function packets(file, rate) {
  const context = new OfflineAudioContext(1, 1, rate);
  const decoded = await context.decodeAudioData(await file.arrayBuffer());
  const samples = Int16Array.from(decoded.getChannelData(0), (value) => Math.max(-32768, Math.min(32767, Math.round(value * 32768))));
  const size = rate / 2;
  return Array.from({ length: Math.ceil(samples.length / size) }, (_, index) => samples.slice(index * size, (index + 1) * size));
}
