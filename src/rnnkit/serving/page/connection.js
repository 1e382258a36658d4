// Requests and streams, and how long each answer took.

const FIRST_PAUSE = 250, MOST_PAUSE = 8000; // milliseconds between tries to connect again
const KEPT = 200; // times of answers

export class Server {
  constructor(output) {
    this.output = output;
    this.onproblem = () => {};
    this.forget();
  }

  get key() { return sessionStorage.getItem("rnnkit-key") ?? ""; }
  set key(value) { sessionStorage.setItem("rnnkit-key", value); }

  forget() {
    this.times = [];
    this.output.textContent = "";
  }

  took(milliseconds) {
    this.times.push(milliseconds);
    if (this.times.length > KEPT) this.times.shift();
    const sorted = [...this.times].sort((one, other) => one - other);
    const share = (part) => sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))].toFixed(1);
    this.output.textContent = `${milliseconds.toFixed(1)} ms, median ${share(0.5)}, p95 ${share(0.95)}`;
  }

  async get(path) { return read(await fetch(path, { headers: this.headers() })); }

  async post(path, body) {
    const began = performance.now();
    const answer = await read(await this.fetchPost(path, body));
    this.took(performance.now() - began);
    this.onproblem("");
    return answer;
  }

  fetchPost(path, body, signal) {
    const headers = { ...this.headers(), "Content-Type": "application/json" };
    return fetch(path, { method: "POST", headers, body: JSON.stringify(body), signal });
  }

  headers() { return this.key ? { "X-API-Key": this.key } : {}; }

  predict(model, body) { return this.post(`/v1/models/${model.name}/predict`, body); }

  // Server-sent events of a text that is written, one object each.
  async *generate(model, body, signal) {
    const response = await this.fetchPost(`/v1/models/${model.name}/generate`, body, signal);
    if (!response.ok) await read(response);
    let rest = "", before = performance.now();
    for await (const bytes of chunks(response.body.pipeThrough(new TextDecoderStream()))) {
      const lines = (rest + bytes).split("\n\n");
      rest = lines.pop();
      for (const line of lines) {
        this.took(performance.now() - before);
        before = performance.now();
        yield JSON.parse(line.slice("data: ".length));
      }
    }
  }

  stream(model, options, onevents) { return new Live(this, model, options, onevents); }
}

async function* chunks(stream) {
  const reader = stream.getReader();
  try {
    for (let part = await reader.read(); !part.done; part = await reader.read()) yield part.value;
  } finally {
    reader.cancel().catch(() => {}); // it may have been aborted already
  }
}

async function read(response) {
  const content = await response.json().catch(() => ({ error: response.statusText }));
  if (response.ok) return content;
  throw Object.assign(new Error(content.error ?? response.statusText), { status: response.status });
}

// A live stream. Where its connection breaks it is made again, and goes on from the last state that the server gave.
export class Live {
  constructor(server, model, options, onevents) {
    this.server = server;
    this.onevents = onevents;
    this.closed = false;
    this.state = null;
    this.sent = [];
    this.waiting = [];
    this.resets = 0; // not answered yet: events that come before their answers are of what was before
    this.pause = FIRST_PAUSE;
    const given = { ...options, acknowledge: true, save_seconds: 1 };
    const address = new URL(`/v1/models/${model.name}/stream`, location.href);
    address.protocol = address.protocol.replace("http", "ws");
    for (const [name, value] of Object.entries(given)) address.searchParams.set(name, value);
    if (server.key) address.searchParams.set("key", server.key);
    this.address = address;
    this.connect();
  }

  connect() {
    const socket = new WebSocket(this.address);
    this.socket = socket;
    socket.onmessage = (message) => this.take(JSON.parse(message.data));
    socket.onclose = (event) => {
      if (this.closed) return;
      this.server.onproblem(`${event.reason || "The connection broke"}; trying again…`);
      setTimeout(() => this.closed || this.connect(), this.pause);
      this.pause = Math.min(2 * this.pause, MOST_PAUSE);
    };
  }

  get ready() { return this.socket.readyState === WebSocket.OPEN && this.greeted; }

  take(message) {
    if (message.type === "ready") {
      this.greeted = true;
      this.pause = FIRST_PAUSE;
      this.server.onproblem("");
      this.sent = [];
      this.resets = 0;
      if (this.state) this.socket.send(JSON.stringify({ restore: this.state }));
      for (const one of this.waiting.splice(0)) this.send(one);
    } else if (message.type === "error") {
      this.sent.shift();
      this.server.onproblem(message.error);
    } else if (message.type === "state") {
      if (!this.resets) this.state = message.state;
    } else if (message.type === "reset") {
      this.resets -= 1;
    } else if (message.type === "events" || message.type === "finished") {
      const began = this.sent.shift();
      if (began !== undefined) this.server.took(performance.now() - began);
      if (!this.resets) this.onevents(message.events, message.type);
    }
  }

  send(message) {
    if (!this.ready) {
      this.waiting.push(message);
      return;
    }
    if (message.reset) this.resets += 1;
    const isBinary = message instanceof ArrayBuffer || ArrayBuffer.isView(message);
    if (isBinary || "push" in message || "finish" in message) this.sent.push(performance.now());
    this.socket.send(isBinary ? message : JSON.stringify(message));
  }

  push(chunk) { this.send(ArrayBuffer.isView(chunk) ? chunk : { push: chunk }); }
  finish() { this.send({ finish: true }); }

  reset() {
    this.state = null;
    this.waiting = [];
    this.send({ reset: true });
  }

  close() {
    this.closed = true;
    this.socket.close();
  }
}

// Follow a text field: what is appended is pushed, and after any other change all of it is read anew.
export class TextFollower {
  constructor(field, live, onanew) {
    this.read = "";
    this.follow = () => {
      const text = field.value;
      if (!text.startsWith(this.read)) {
        live.reset();
        onanew();
        this.read = "";
      }
      if (text.length > this.read.length) live.push(text.slice(this.read.length));
      this.read = text;
    };
    field.addEventListener("input", this.follow);
  }
}
