// The stream of changes. fetch instead of EventSource: that one can send no header, and a key does not belong in a URL.

const FIRST_PAUSE = 500, LONGEST_PAUSE = 15000;
const SILENCE = 30000; // the service says something every ten seconds
const HIDDEN = 300000; // a tab that nobody looks at keeps the service reading

export class Stream {
  // tell.message(kind, data), tell.state(state, words), tell.keyWanted()
  constructor(url, key, tell) {
    this.url = url;
    this.key = key;
    this.tell = tell;
    this.pause = FIRST_PAUSE;
    this.stopped = false;
    this.lastHeard = null;
    this.wake = () => {};
    addEventListener("online", () => this.wake());
    document.addEventListener("visibilitychange", () => this.looked());
  }

  async run() {
    while (!this.stopped) {
      let why = "the connection ended";
      try {
        if (await this.once() === "key") return this.tell.keyWanted();
      } catch (error) {
        why = error.reason ?? "the service cannot be reached";
      }
      if (this.stopped) return;
      await this.rest(why);
    }
  }

  async once() {
    this.abort = new AbortController();
    const headers = { accept: "text/event-stream" };
    if (this.key()) headers.authorization = `Bearer ${this.key()}`;
    const response = await fetch(this.url, { headers, cache: "no-store", signal: this.abort.signal });
    if (response.status === 401) return "key";
    if (!response.ok) throw { reason: await refusal(response) };
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    for (;;) {
      const { value, done } = await this.heard(reader.read());
      if (done) return "end";
      text += value;
      const events = text.split("\n\n");
      text = events.pop();
      for (const event of events) this.event(event);
    }
  }

  async heard(reading) {
    const timer = setTimeout(() => this.abort.abort(), SILENCE);
    try {
      return await reading;
    } finally {
      clearTimeout(timer);
    }
  }

  event(text) {
    this.lastHeard = new Date();
    this.pause = FIRST_PAUSE;
    let kind = "", data = "";
    for (const line of text.split("\n")) {
      if (line.startsWith("event: ")) kind = line.slice(7);
      if (line.startsWith("data: ")) data += line.slice(6);
    }
    if (kind) this.tell.message(kind, JSON.parse(data));
  }

  async rest(why) {
    const hidden = document.hidden && this.paused;
    const wait = this.pause * (0.5 + Math.random() / 2);
    this.pause = Math.min(2 * this.pause, LONGEST_PAUSE);
    this.tell.state("stale", hidden ? "paused while nobody looks" : why, this.lastHeard);
    await new Promise((resolve) => {
      this.wake = resolve;
      if (!hidden) setTimeout(resolve, wait);
    });
    this.paused = false;
  }

  looked() {
    clearTimeout(this.hiddenTimer);
    if (document.hidden) {
      this.hiddenTimer = setTimeout(() => {
        this.paused = true;
        this.abort?.abort();
      }, HIDDEN);
    } else {
      this.wake();
    }
  }
}

async function refusal(response) {
  try {
    return (await response.json()).error;
  } catch {
    return `the service answered ${response.status}`;
  }
}
