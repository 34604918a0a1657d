// Shows what the control API tells, and switches what it can switch. All that tenants chose becomes text nodes.

const LATEST = 200; // calls that are shown, as many as the simulator tells anew
const BETWEEN_READS = 1000; // ms between two reads of one list, however much changes
const BETWEEN_WORDS = 2000; // ms between two announcements to those who listen to the page

const ADMIN_API = "^(?!/token$)";
const PRESETS = [
  ["The admin API is down", "503 to every call", { kind: "status", status: 503, path: ADMIN_API }],
  ["The token endpoint is down", "503 to every call", { kind: "status", status: 503, path: "^/token$" }],
  ["Too many calls", "429 with Retry-After 5, admin API", { kind: "status", status: 429, retry_after: 5, path: ADMIN_API }],
  ["A gateway answers", "502 with an HTML page, admin API", { kind: "html", path: ADMIN_API }],
  ["Answers are lost", "carried out, then dropped, admin API", { kind: "drop", when: "after", path: ADMIN_API }],
  ["Calls hang", "until switched off, admin API", { kind: "hold", path: ADMIN_API }],
];
const FAULT_DEFAULTS = { when: "before", method: null, times: null, skip: 0, status: 503, retry_after: null, delay_ms: 0 };

const DELAYS = {
  latency_ms: ["Latency", "ms, each call of the admin API"],
  list_lag_seconds: ["Lists lag behind", "seconds, lists of the admin API"],
  propagation_delay_seconds: ["Maskinporten lags behind", "seconds, the token endpoint"],
};

const byId = (id) => document.getElementById(id);

/** Make an element; children are nodes or text, and what is null is left out. */
function make(name, attributes, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== null && value !== false) element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** Text that somebody else chose, which may be written from right to left. */
const text = (value, className = null) => make("bdi", { class: className }, String(value));

const line = (...children) => make("div", {}, ...children);

function cell(label, ...children) {
  return make("td", { "data-label": label }, ...children);
}

function day(seconds) {
  const date = new Date(seconds * 1000);
  if (Number.isNaN(date.getTime())) return "?";
  return make("time", { datetime: date.toISOString(), title: date.toISOString() }, date.toLocaleDateString("sv-SE"));
}

function clockTime(seconds) {
  const date = new Date(seconds * 1000);
  const shown = `${date.toLocaleTimeString("sv-SE")}.${String(date.getMilliseconds()).padStart(3, "0")}`;
  return make("time", { datetime: date.toISOString(), title: date.toISOString(), class: "mono" }, shown);
}

const shown = new WeakMap(); // by container: what each key shows, as JSON and as a node

/** Show `items` in their order; a node whose item is as before is left alone, and with it focus and selection. */
function show(container, items, keyOf, render) {
  const before = shown.get(container) ?? new Map();
  const now = new Map();
  let next = container.firstChild;
  for (const item of items) {
    const key = keyOf(item);
    const json = JSON.stringify(item);
    const old = before.get(key);
    const node = old?.json === json ? old.node : render(item);
    now.set(key, { json, node });
    if (node === next) next = next.nextSibling;
    else container.insertBefore(node, next);
  }
  while (next) {
    const after = next.nextSibling;
    next.remove();
    next = after;
  }
  shown.set(container, now);
}

function showEmptiness(section, empty) {
  section.querySelector(".empty").hidden = !empty;
}

function count(what, number) {
  document.querySelector(`[data-count="${what}"]`).textContent = number.toLocaleString("en");
}

// Asking the control API

let problem = null;

function tellProblem(error) {
  problem = error ? error.message : null;
  if (byId("problem").textContent !== (problem ?? "")) byId("problem").textContent = problem ?? "";
}

async function control(method, path, body) {
  const sent = body === undefined ? {} : { headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  const response = await fetch(`/control/${path}`, { method, ...sent });
  const answer = await response.text();
  if (response.ok) return answer ? JSON.parse(answer) : null;
  let reason = `${method} /control/${path} was answered with ${response.status}`;
  try {
    reason = JSON.parse(answer).error ?? reason;
  } catch {
    // No JSON: the status says all
  }
  throw new Error(reason);
}

/** Carry out a change, and show what became of it, or why it was refused. */
async function change(...calls) {
  try {
    for (const call of calls) await control(...call);
    tellProblem(null);
  } catch (error) {
    tellProblem(error);
  }
  await switches();
}

/** Return what asks for `load` at most once in a while, and never twice at a time. */
function seldom(load) {
  let busy = false;
  let again = false;
  async function run() {
    busy = true;
    again = false;
    try {
      await load();
    } catch {
      // The stream of events tells when the simulator is back
    }
    setTimeout(() => {
      busy = false;
      if (again) run();
    }, BETWEEN_READS);
  }
  return () => {
    if (busy) again = true;
    else run();
  };
}

// Lists of clients, scopes and accesses

function list(what, keyOf, render) {
  const body = byId(`${what}-table`).tBodies[0];
  const filter = byId(`${what}-filter`);
  let asked = 0;
  async function load() {
    const number = ++asked;
    const wanted = filter.value.trim();
    const found = await control("GET", `page/${what}?q=${encodeURIComponent(wanted)}`);
    if (number !== asked) return;
    count(what, found.total);
    const newest = found.matching > found.shown.length ? `, the first ${found.shown.length} are shown` : "";
    const part = wanted ? `${found.matching.toLocaleString("en")} of ${found.total.toLocaleString("en")} match` : "";
    byId(`${what}-note`).textContent = wanted || newest ? `${part || found.total.toLocaleString("en")}${newest}` : "";
    show(body, found.shown, keyOf, render);
  }
  let typing = null;
  filter.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(() => load().catch(tellProblem), 150);
  });
  return seldom(load);
}

const organisation = (one) => (one.name ? `${one.name} ${one.orgno}` : one.orgno);

function renderClient(client) {
  const lead = client.description || client.name || client.client_id;
  const name = client.name && client.name !== lead ? line(text(client.name)) : null;
  const more = client.more_scopes ? make("span", { class: "quiet" }, `and ${client.more_scopes} more`) : null;
  const state = client.active ? null : make("span", { class: "chip warn" }, "deleted");
  return make("tr", {},
    make("th", { scope: "row" },
      text(lead, "lead"),
      name,
      line(text(client.client_id, "mono")),
      line(client.integration_type, " · since ", day(client.created), state ? " " : null, state)),
    cell("Scopes", make("div", { class: "chips" }, ...client.scopes.map((scope) => text(scope, "chip mono")), more)),
    cell("Keys", ...client.keys.map(renderKey), client.keys.length ? null : line("none")));
}

function renderKey(key) {
  const over = key.exp * 1000 < Date.now();
  const end = make("span", { class: over ? "bad" : null }, over ? "expired " : "expires ", day(key.exp));
  return make("div", {}, text(key.kid, "mono"), make("div", {}, day(key.created), ", ", end));
}

function renderScope(scope) {
  const properties = [
    scope.exposed && "exposed", !scope.active && "inactive", scope.open && "open to all",
    scope.delegated && "by delegation", scope.visibility !== "PUBLIC" && scope.visibility.toLowerCase(),
  ].filter(Boolean);
  return make("tr", {},
    make("th", { scope: "row" }, text(scope.name, "mono"), scope.description ? line(text(scope.description)) : null),
    cell("Prefix", text(scope.prefix, "mono")),
    cell("Owner", text(organisation(scope.owner))),
    cell("Properties", make("div", { class: "chips" },
      ...properties.map((one) => make("span", { class: one === "inactive" ? "chip warn" : "chip" }, one)))),
    make("td", { "data-label": "Consumers", class: "number" }, String(scope.consumers)));
}

function renderAccess(access) {
  const good = access.state === "APPROVED";
  return make("tr", {},
    make("th", { scope: "row" }, text(access.scope, "mono")),
    cell("Consumer", text(organisation(access.consumer))),
    cell("State", make("span", { class: good ? "good" : "warn" }, access.state.toLowerCase())),
    cell("Changed", day(access.changed)));
}

const clients = list("clients", (one) => one.client_id, renderClient);
const scopes = list("scopes", (one) => one.name, renderScope);
const accesses = list("accesses", (one) => `${one.scope} ${one.consumer.orgno}`, renderAccess);

const violations = seldom(async () => {
  const found = await control("GET", "page/violations");
  showEmptiness(byId("violations"), !found.length);
  show(byId("violations-list"), found, (call) => call.sequence, (call) => make("li", {},
    clockTime(call.wall), " ", make("span", { class: "mono" }, call.method, " ", text(call.path)), " ",
    statusOf(call), ...call.violations.map((one) => line(text(one)))));
});

// Calls

const calls = new Map();
const inOrder = () => [...calls.values()].sort((one, other) => one.sequence - other.sequence);
let paused = false;
let drawing = false;

function statusOf(call) {
  if (call.duration_ms === null) return make("span", { class: "status quiet" }, "…");
  if (call.status === null) return make("span", { class: "status bad" }, "dropped");
  const kind = call.status < 400 ? "good" : call.status < 500 ? "warn" : "bad";
  return make("span", { class: `status ${kind}` }, String(call.status));
}

function renderCall(call) {
  const concerns = [call.client, call.scope, call.consumer].filter((one) => one !== null);
  return make("tr", {},
    cell("Time", clockTime(call.wall)),
    cell("Call", make("span", { class: "mono" }, make("strong", {}, call.method), " ", text(call.path)),
      call.fault ? line(make("span", { class: "chip bad" }, `fault: ${call.fault}`)) : null,
      ...call.violations.map((one) => line(text(one, "warn")))),
    cell("Caller", call.caller === null ? "" : text(call.caller)),
    cell("Concerns", ...concerns.map((one) => line(text(one)))),
    cell("Status", statusOf(call)),
    make("td", { "data-label": "ms", class: "number" }, call.duration_ms === null ? "" : call.duration_ms.toFixed(0)));
}

function textOf(call) {
  const texts = [call.method, call.path, call.operation, call.caller, call.client, call.scope, call.consumer];
  return [...texts, call.status, call.fault].join(" ").toLowerCase();
}

function drawCalls() {
  drawing = false;
  if (paused) return;
  const words = byId("calls-filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  const newest = inOrder().reverse().filter((call) => words.every((word) => textOf(call).includes(word)));
  show(byId("calls-table").tBodies[0], newest, (call) => call.sequence, renderCall);
  showEmptiness(byId("calls"), !calls.size);
}

function drawSoon() {
  if (!drawing) {
    drawing = true;
    requestAnimationFrame(drawCalls);
  }
}

let speaking = null;

function announceSoon() {
  speaking ??= setTimeout(() => {
    speaking = null;
    const newest = inOrder().pop();
    if (!newest || paused) return;
    const how = newest.duration_ms === null ? "under way" : newest.status ?? "dropped";
    byId("news").textContent = `Newest call: ${newest.method} ${newest.path}, ${how}`;
  }, BETWEEN_WORDS);
}

byId("calls-filter").addEventListener("input", drawSoon);
byId("pause").addEventListener("click", () => {
  paused = !paused;
  byId("pause").setAttribute("aria-pressed", String(paused));
  drawSoon();
});
byId("clear").addEventListener("click", () => change(["DELETE", "ledger"]));

// Faults and delays

let faults = [];
let settings = [];

const orderOf = (preset) => ({ ...FAULT_DEFAULTS, ...preset });

function findPreset(preset) {
  const order = orderOf(preset);
  return faults.filter((fault) => !fault.released && Object.keys(order).every((name) => fault[name] === order[name]));
}

function setting(title, explanation, input) {
  return make("label", { class: "setting" }, make("span", {}, title, make("small", {}, explanation)), input);
}

const presetInputs = PRESETS.map(([title, explanation, preset]) => {
  const input = make("input", { type: "checkbox", role: "switch" });
  byId("presets").append(setting(title, explanation, input));
  input.addEventListener("change", () => {
    const removals = findPreset(preset).map((fault) => ["DELETE", `faults/${fault.id}`]);
    change(...(input.checked ? [["POST", "faults", orderOf(preset)]] : removals));
  });
  return [input, preset];
});

const settingInputs = new Map();

function makeInput(one) {
  if (one.type === "boolean") return make("input", { type: "checkbox", role: "switch" });
  if (one.type === "choice") {
    return make("select", {}, ...one.values.map((value) => make("option", { value: JSON.stringify(value) }, String(value))));
  }
  return make("input", { type: "number", min: 0, max: one.maximum, step: "any", required: true });
}

function valueOf(one, input) {
  if (one.type === "boolean") return input.checked;
  return one.type === "choice" ? JSON.parse(input.value) : input.valueAsNumber;
}

function addSetting(one) {
  const input = makeInput(one);
  const [title, explanation] = DELAYS[one.name] ?? [one.name.replaceAll("_", " "), one.description];
  const label = setting(title, explanation, input);
  byId(one.name in DELAYS ? "delays" : "manners").append(label);
  input.addEventListener("change", () => {
    if (input.reportValidity()) change(["PATCH", "settings", { [one.name]: valueOf(one, input) }]);
  });
  settingInputs.set(one.name, [input, label]);
}

function showSetting(one) {
  if (!settingInputs.has(one.name)) addSetting(one);
  const [input, label] = settingInputs.get(one.name);
  label.classList.toggle("changed", one.value !== one.default);
  if (one.type === "boolean") input.checked = one.value;
  else if (input !== document.activeElement || input.type !== "number") {
    input.value = one.type === "choice" ? JSON.stringify(one.value) : one.value;
  }
}

function describe(fault) {
  const what = { status: `answer ${fault.status}`, delay: `delay ${fault.delay_ms} ms` }[fault.kind] ?? fault.kind;
  const path = fault.path ? ["path ", text(fault.path, "mono")] : ["all paths"];
  const made = fault.times === null ? `${fault.struck} struck` : `${fault.struck} of ${fault.times} struck`;
  return [
    make("strong", {}, what), ` ${fault.when} the operation`,
    make("div", { class: "quiet" }, fault.method ? `${fault.method}, ` : "", ...path),
    make("div", { class: "quiet" }, made, fault.held ? `, ${fault.held} held now` : "", fault.released ? ", released" : ""),
  ];
}

function renderFault(fault) {
  const remove = make("button", { type: "button", "aria-label": `Remove fault ${fault.id}` }, "Remove");
  remove.addEventListener("click", () => change(["DELETE", `faults/${fault.id}`]));
  const release = make("button", { type: "button", "aria-label": `Release the calls of fault ${fault.id}` }, "Release");
  release.addEventListener("click", () => change(["POST", `faults/${fault.id}/release`]));
  return make("li", {}, ...describe(fault),
    make("div", { class: "buttons" }, remove, fault.kind === "hold" && !fault.released ? release : null));
}

async function readSwitches() {
  const found = await control("GET", "page/switches");
  ({ faults, settings } = found);
  byId("about").replaceChildren("Issuer ", text(found.issuer, "mono"), " · ", text(organisation(found.organisation)),
    ...(found.prefixes.length ? [" · prefixes ", text(found.prefixes.join(", "), "mono")] : []));
  for (const [input, preset] of presetInputs) input.checked = findPreset(preset).length > 0;
  settings.forEach(showSetting);
  const changed = settings.filter((one) => !(one.name in DELAYS) && one.value !== one.default).length;
  byId("changed-manners").textContent = changed ? `${changed} changed` : "";
  const focused = document.activeElement?.getAttribute("aria-label");
  show(byId("faults-list"), faults, (fault) => fault.id, renderFault);
  // A button whose fault has changed meanwhile was made anew
  if (document.activeElement === document.body && focused) {
    [...byId("faults-list").querySelectorAll("button")].find((one) => one.getAttribute("aria-label") === focused)?.focus();
  }
  showEmptiness(byId("switches"), !faults.length);
}

async function switches() {
  try {
    await readSwitches();
  } catch {
    // The stream of events tells when the simulator is back
  }
}
const switchesSoon = seldom(readSwitches);

byId("all-off").addEventListener("click", () => {
  const defaults = settings.filter((one) => one.name in DELAYS).map((one) => [one.name, one.default]);
  change(["DELETE", "faults"], ["PATCH", "settings", Object.fromEntries(defaults)]);
});

byId("fault").addEventListener("submit", (event) => {
  event.preventDefault();
  const form = new FormData(event.target);
  const order = { ...Object.fromEntries(form), times: form.get("times") ? Number(form.get("times")) : null };
  const numbers = { status: Number(form.get("status") || 503), delay_ms: Number(form.get("delay_ms") || 0) };
  change(["POST", "faults", { ...order, ...numbers, method: form.get("method") || null }]);
});

// What happens, as it happens

const reported = { state: null, control: null, violations: null };

function differs(name, value) {
  const different = reported[name] !== value;
  reported[name] = value;
  return different;
}

function receive(news) {
  if (news.anew) calls.clear();
  for (const call of news.calls) calls.set(call.sequence, call);
  inOrder().slice(0, -LATEST).forEach((call) => calls.delete(call.sequence));
  count("calls", news.count);
  count("violations", news.violations);
  document.querySelector('[data-count="violations"]').classList.toggle("bad", news.violations > 0);
  drawSoon();
  if (news.calls.length) announceSoon();
  if (differs("state", news.state)) [clients, scopes, accesses].forEach((load) => load());
  if (differs("violations", `${news.control} ${news.violations}`)) violations();
  if (differs("control", news.control) || (faults.length && news.calls.length)) switchesSoon();
}

function tellConnection(state, words) {
  byId("connection").dataset.state = state;
  if (byId("connection").textContent !== words) byId("connection").textContent = words;
}

let events = null;
let retrying = null;

function listen() {
  clearTimeout(retrying);
  events?.close();
  events = new EventSource("/control/events");
  events.onopen = () => {
    tellConnection("live", "Live");
    tellProblem(null);
  };
  events.onmessage = (event) => receive(JSON.parse(event.data));
  events.onerror = async () => {
    tellConnection("lost", "Not connected, trying again");
    if (events.readyState !== EventSource.CLOSED) return;
    retrying = setTimeout(listen, 3000);
    await control("GET", "settings").catch(tellProblem); // refused: the answer says why
  };
}

// A page that nobody sees doesn't listen: a browser has six connections to one place
document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    clearTimeout(retrying);
    events?.close();
    tellConnection("waiting", "Paused while not shown");
  } else listen();
});
listen();
