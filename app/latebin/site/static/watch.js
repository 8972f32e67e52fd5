// Reads a stream and draws each event twice: when it left the service, and when it came here. `latebin watch` decides
// in the same way whether something on the way buffers.

const HELD_MS = 100; // an event that was held back for less was not buffered
const TOGETHER_MS = 20; // a browser hands over in one turn what came within it
const [LEFT, RIGHT] = [60, 990];
const [LEFT_LINE, CAME_LINE] = [18, 68];

const form = document.querySelector("#ask");
const [goButton, stopButton] = document.querySelectorAll("#go, #stop");
const [dots, verdict] = document.querySelectorAll("#dots, #verdict");

let controller = new AbortController();

function event(line, came) {
  try {
    const { n, id, left_ms: left } = JSON.parse(line.replace(/^data:/, ""));
    return Number.isFinite(left) && (n ?? id) !== undefined ? { left, came } : undefined;
  } catch {
    return undefined; // a comment, an id, or the blank line behind an event
  }
}

function draw(events) {
  const least = Math.min(...events.map(({ left, came }) => came - left));
  const placed = events.map(({ left, came }) => ({ left, came: came - least }));
  const start = placed[0].left;
  const end = Math.max(start + 1, ...placed.map(({ came }) => came));
  const at = (moment) => LEFT + ((moment - start) / (end - start)) * (RIGHT - LEFT);
  dots.replaceChildren(
    ...placed.flatMap(({ left, came }) => [
      [left, LEFT_LINE],
      [came, CAME_LINE],
    ]).map(([moment, line]) => {
      const dot = document.createElementNS("http://www.w3.org/2000/svg", "circle");
      for (const [name, value] of Object.entries({ cx: at(moment).toFixed(1), cy: line, r: 4 })) dot.setAttribute(name, value);
      return dot;
    }),
  );
}

function* bursts(events) {
  let burst = [];
  for (const each of events) {
    if (burst.length && each.came - burst.at(-1).came > TOGETHER_MS) {
      yield burst;
      burst = [];
    }
    burst.push(each);
  }
  yield burst;
}

function worstBurst(events) {
  const least = Math.min(...events.map(({ left, came }) => came - left));
  let worst;
  for (const burst of bursts(events)) {
    const held = burst[0].came - burst[0].left - least;
    const spread = burst.at(-1).left - burst[0].left;
    if (Math.min(held, spread) >= HELD_MS && !(worst?.held >= held)) worst = { held, number: burst.length };
  }
  return worst;
}

function judge(events, ended) {
  if (events.length === 1) return `${ended}: a single event shows nothing`;
  const worst = worstBurst(events);
  if (!worst) return `${ended}: streams through, ${events.length} events`;
  const held = `${(worst.held / 1000).toFixed(1)} s and let go in one burst of ${worst.number}`;
  return `${ended}: held back for up to ${held}, something on the way buffers`;
}

async function read(target, events, signal) {
  const response = await fetch(target, { signal, cache: "no-store" });
  if (response.status !== 200) return `status ${response.status}`;
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return "ended";
    const came = performance.now();
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    events.push(...lines.map((line) => event(line, came)).filter(Boolean));
    if (events.length) draw(events);
    verdict.textContent = `${events.length} events`;
  }
}

function busy(isBusy) {
  stopButton.setAttribute("aria-disabled", String(!isBusy));
  goButton.setAttribute("aria-disabled", String(isBusy));
}

form.addEventListener("submit", async (submitted) => {
  submitted.preventDefault();
  controller.abort();
  controller = new AbortController();
  const { signal } = controller;
  const events = [];
  dots.replaceChildren();
  verdict.textContent = "waiting…";
  busy(true);
  let ended;
  try {
    // Only a path: a page of this service reads no other one.
    const target = new URL(form.elements.target.value, location.origin);
    ended = target.origin === location.origin ? await read(target, events, signal) : "a path such as /sse is needed";
  } catch (error) {
    ended = signal.aborted ? "stopped" : `broke off (${error.name})`;
  }
  if (signal !== controller.signal) return;
  verdict.textContent = events.length ? judge(events, ended) : `${ended}: no event of a stream came`;
  busy(false);
});

stopButton.addEventListener("click", () => controller.abort());
document.addEventListener("keydown", ({ key }) => key === "Escape" && controller.abort());
