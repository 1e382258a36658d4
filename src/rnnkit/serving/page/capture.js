// Runs in the audio thread: collects samples into packets of 16-bit numbers.
class Capture extends AudioWorkletProcessor {
  constructor({ processorOptions }) {
    super();
    this.packet = new Int16Array(processorOptions.packet);
    this.filled = 0;
  }

  process([[channel]]) {
    for (const value of channel ?? []) {
      this.packet[this.filled++] = Math.max(-32768, Math.min(32767, Math.round(value * 32768)));
      if (this.filled === this.packet.length) {
        this.port.postMessage(this.packet.slice());
        this.filled = 0;
      }
    }
    return true;
  }
}

registerProcessor("capture", Capture);
