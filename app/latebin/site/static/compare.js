// Sends a request to both styles together and shows both answers. Every text from outside becomes text, never markup.

const ALMOST = 0.98; // the place where a bar waits for a late answer: it is full only when the answer has come
const FRAME_MS = 16;
const CALM_FRAME_MS = 500;
const NOTICEABLE_MS = 20; // less is the network's and the browser's own time
const REPEATED = ", the browser repeated the request";

const form = document.querySelector("#ask");
const [goButton, abortButton] = document.querySelectorAll("#go, #abort");
const calm = matchMedia("(prefers-reduced-motion: reduce)");

const milliseconds = (figure, digits = 3) => (Number.isFinite(figure) ? `${figure.toFixed(digits)} ms` : "");

class Bar {
  constructor(element) {
    this.element = element;
  }

  start() {
    this.expected = undefined;
    this.started = performance.now();
    this.element.removeAttribute("value");
    this.timer = setInterval(() => this.move(), calm.matches ? CALM_FRAME_MS : FRAME_MS);
  }

  get elapsed() {
    return performance.now() - this.started;
  }

  move() {
    if (this.expected !== undefined) {
      this.element.value = Math.min(this.elapsed / Math.max(this.expected, 1), ALMOST);
    }
  }

  stop(full) {
    clearInterval(this.timer);
    this.element.value = full ? 1 : Math.max(this.element.position, 0);
  }
}

class Side {
  constructor(element) {
    this.element = element;
    this.url = element.dataset.url;
    this.bar = new Bar(element.querySelector("progress"));
    this.parts = Object.fromEntries([...element.querySelectorAll("[data-part]")].map((each) => [each.dataset.part, each]));
  }

  show(texts) {
    for (const [part, text] of Object.entries(texts)) this.parts[part].textContent = text;
  }

  become(state, text) {
    this.element.dataset.state = state;
    this.show({ state: text });
  }

  async ask(query, signal) {
    this.start(`${this.url}?${query}`);
    try {
      await this.receive(await fetch(`${this.url}?${query}`, { signal, cache: "no-store" }));
    } catch (error) {
      this.break(error, signal);
    }
  }

  start(target) {
    for (const part of Object.values(this.parts)) part.textContent = "";
    this.wrong = this.least = this.most = undefined;
    this.show({ request: `GET ${target}` });
    this.become("waiting", "waiting…");
    this.bar.start();
  }

  async receive(response) {
    const timing = serverTiming(response.headers);
    this.showHead(response, timing);
    const body = await response.arrayBuffer();
    this.show({ "all-after": `${milliseconds(this.bar.elapsed, 1)}, ${body.byteLength} B` });
    if (this.sentAgain(response.url)) this.parts["headers-after"].textContent += REPEATED;
    this.bar.stop(true);
    if (isProblem(response.headers)) this.refuse(JSON.parse(new TextDecoder().decode(body)));
    else this.become("answered", Number.isFinite(timing.late) ? `answered, ${milliseconds(timing.late)} late` : "answered");
  }

  showHead(response, { asked, measured, late }) {
    this.show({
      status: `${response.status} ${response.statusText}`,
      headers: [...response.headers].map(([name, value]) => `${name}: ${value}`).join("\n"),
      asked: milliseconds(asked),
      measured: milliseconds(measured),
      lateness: milliseconds(late),
      "headers-after": milliseconds(this.bar.elapsed, 1),
    });
  }

  // A browser sends a request again when its connection breaks before an answer. Then the last request began late.
  sentAgain(url) {
    const timing = performance.getEntriesByName(url).at(-1);
    const before = timing?.requestStart ? timing.requestStart - timing.startTime : 0;
    return this.least > NOTICEABLE_MS && before > ALMOST * this.least;
  }

  // One request never takes longer than its longest delay, and two never less than twice the shortest.
  lastedTwice(elapsed) {
    return this.least > NOTICEABLE_MS && elapsed > Math.max(this.most + NOTICEABLE_MS, 2 * ALMOST * this.least);
  }

  refuse(problem) {
    this.wrong = problem.parameter;
    this.become("refused", `refused: ${problem.status} ${problem.title}`);
    this.show({ detail: problem.detail, accepted: problem.accepted ? `Accepted: ${problem.accepted}` : "" });
  }

  break(error, signal) {
    const { elapsed } = this.bar;
    const answered = this.parts.status.textContent !== "";
    const after = milliseconds(elapsed, 1);
    this.bar.stop(false);
    if (signal.aborted) {
      this.become("aborted", `aborted after ${after}`);
    } else {
      const when = answered ? "inside the answer" : "before an answer came";
      this.become("failed", `network error after ${after}${!answered && this.lastedTwice(elapsed) ? REPEATED : ""}`);
      this.show({ detail: `The connection broke ${when}. The browser says: ${error.message}` });
    }
  }
}

const sides = [...document.querySelectorAll(".answer")].map((element) => new Side(element));

let running = null;

function serverTiming(headers) {
  const metrics = (headers.get("Server-Timing") ?? "").matchAll(/(\w+);dur=([\d.]+)/g);
  const { asked, delay } = Object.fromEntries(Array.from(metrics, ([, name, duration]) => [name, Number(duration)]));
  return { asked, measured: delay, late: delay - asked };
}

function isProblem(headers) {
  return headers.get("Content-Type") === "application/problem+json";
}

function asked() {
  const query = new URLSearchParams({ delay: form.delay.value.trim() });
  new URLSearchParams(form.others.value.trim()).forEach((value, name) => query.append(name, value));
  if (form.same.checked) draw(query);
  return query;
}

// Each style counts the requests of a seed for itself: the same draw in both takes a seed and n.
function draw(query) {
  if (!query.has("seed")) query.append("seed", crypto.getRandomValues(new Uint32Array(1))[0]);
  if (!query.has("n")) query.append("n", 1);
}

// The bars need this for their pace alone: without it they run, and do not show how far.
async function pace(signal) {
  const response = await fetch(`/predict?${new URLSearchParams({ delay: form.delay.value.trim() })}`, { signal });
  if (!response.ok) return;
  const { p99_ms: expected, max_ms: most, histogram } = await response.json();
  for (const side of sides) {
    side.bar.expected = expected;
    Object.assign(side, { least: histogram[0].lower_ms, most });
  }
}

function setRunning(controller) {
  running = controller;
  goButton.setAttribute("aria-disabled", controller !== null);
  abortButton.setAttribute("aria-disabled", controller === null);
}

async function run() {
  const controller = new AbortController();
  setRunning(controller);
  performance.clearResourceTimings();
  const query = asked();
  const answers = sides.map((side) => side.ask(query, controller.signal));
  sides.at(-1).bar.element.scrollIntoView({ block: "nearest" });
  pace(controller.signal).catch(() => {});
  await Promise.all(answers);
  controller.abort();
  setRunning(null);
  form.delay.setAttribute("aria-invalid", sides.some((side) => side.wrong === "delay"));
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (!running) run();
});

form.addEventListener("click", (event) => {
  if (!event.target.matches(".example")) return;
  form.delay.value = event.target.textContent;
  form.delay.focus();
});

abortButton.addEventListener("click", () => running?.abort());

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") running?.abort();
});
