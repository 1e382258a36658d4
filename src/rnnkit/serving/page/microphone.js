// Sound from the microphone, or of a file, as 16-bit samples at a model's rate.

const PACKET_SECONDS = 0.04;

// Give packets to `onpacket` until `stop` is called. The browser resamples to the rate of its audio context.
export async function listen(rate, onpacket) {
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

// Decode a recording; the packets of its first channel come at once.
export async function packets(file, rate) {
  const context = new OfflineAudioContext(1, 1, rate);
  const decoded = await context.decodeAudioData(await file.arrayBuffer());
  const samples = Int16Array.from(decoded.getChannelData(0), (value) => Math.max(-32768, Math.min(32767, Math.round(value * 32768))));
  const size = rate / 2;
  return Array.from({ length: Math.ceil(samples.length / size) }, (_, index) => samples.slice(index * size, (index + 1) * size));
}
