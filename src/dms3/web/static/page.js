// The page's script: commands as forms, live regions, search as you type, imports, keys.
// Everything it shows comes from the server as escaped HTML or goes through textContent.

const API = "/api/v1/";
const $ = (selector, root = document) => root.querySelector(selector);
const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];

const UNDO = 6000; // milliseconds in which a removal can be undone

// ---- commands ----------------------------------------------------------------------------------

/** What a failed answer says, for people: what happened, then what to do. */
class Refusal extends Error {
  constructor(code, message, hint = "", about = null) {
    super(hint ? `${message} ${hint}` : message);
    Object.assign(this, { code, about });
  }
}

const unreachable = () =>
  new Refusal("node_unreachable", "The node does not answer.", "See that it runs (dms3 up), then try again.");

async function refusal(response) {
  try {
    const told = await response.json();
    if (told.code === "unauthorized") return new Refusal(told.code, "You are logged out.", "Open the page again with: dms3 open");
    return new Refusal(told.code, told.detail, told.hint, told.about);
  } catch {
    return new Refusal("internal", `The node answered with status ${response.status} and no reason.`, "Its log says more.");
  }
}

/** The result of a command ("store share"); throws a Refusal. */
export async function ask(command, parameters = {}) {
  let response;
  try {
    response = await fetch(API + command.replaceAll(" ", "/"), {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(parameters),
      keepalive: true, // what was begun is done, also when the page is left
    });
  } catch {
    throw unreachable();
  }
  if (!response.ok) throw await refusal(response);
  return (await response.json()).data;
}

/** As `ask`, for long work: `onProgress` gets {done, total, unit, text} on the way. */
export async function steps(command, given, onProgress, signal = null) {
  try {
    const response = await fetch(API + command.replaceAll(" ", "/"), {
      method: "POST",
      headers: { "Content-Type": "application/json", Accept: "application/x-ndjson" },
      body: JSON.stringify(given),
      signal,
    });
    if (!response.ok) throw await refusal(response);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let rest = ""; ; ) {
      const { done, value } = await reader.read();
      if (done) break;
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      for (const line of lines) {
        const { progress, error, data } = JSON.parse(line);
        if (progress) onProgress(progress);
        if (error) throw new Refusal(error.code, error.message, error.hint, error.about);
        if (data) return data;
      }
    }
  } catch (error) {
    if (error instanceof Refusal) throw error;
    if (signal?.aborted) throw new Refusal("cancelled", "Cancelled.");
    if (error instanceof TypeError) throw unreachable();
  }
  throw new Refusal("cut", "The node ended the answer before the work was done.", "What was done by then stays; begin again for the rest.");
}

/** Says `text` in the corner for a while; `action` ({label, run}) puts a button beside it. */
export function tell(text, action = null) {
  const line = document.createElement("p");
  line.append(text);
  const gone = () => line.remove();
  if (action) {
    const button = document.createElement("button");
    button.className = "small";
    button.textContent = action.label;
    button.onclick = () => (gone(), action.run());
    line.append(button);
  }
  $("#told").append(line);
  setTimeout(gone, 8000);
}

const filled = (text, values) => text.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);

/** The fields of a form as parameters: empty ones are left out, numbers stay numbers. */
function parameters(form) {
  const found = {};
  for (const field of form.elements) {
    if (!field.name || field.disabled || (field.type === "radio" && !field.checked)) continue;
    const value = field.type === "checkbox" ? field.checked : field.value.trim();
    if (value === "") continue;
    found[field.name] = field.type === "number" ? Number(value) : field.dataset.many !== undefined ? [value] : value;
  }
  return found;
}

document.addEventListener("submit", async (event) => {
  const form = event.target.closest("form[data-command]");
  if (!form) return;
  event.preventDefault();
  const problem = $(".problem", form);
  const buttons = $$("button", form);
  if (problem) problem.hidden = true;
  for (const button of buttons) button.disabled = true;
  try {
    const given = parameters(form);
    const data = await steps(form.dataset.command, given, (step) => show(form, step));
    form.closest("dialog")?.close();
    if (form.dataset.done) tell(filled(form.dataset.done, { ...given, ...data }));
    if (form.dataset.next) location.assign(form.dataset.next);
    if (form.dataset.opens) open(document.getElementById(form.dataset.opens), data);
    if (!form.closest("dialog")) form.reset();
    await refresh();
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    if (!problem) return tell(error.message);
    problem.textContent = error.message;
    problem.hidden = false;
  } finally {
    for (const button of buttons) button.disabled = false;
    $("[data-step]", form)?.remove();
  }
});

/** A bar above the buttons of a form whose command takes long. */
function show(form, { done, total, unit, text }) {
  let place = $("[data-step]", form);
  if (!place) {
    place = document.createElement("div");
    place.dataset.step = "";
    place.append(document.createElement("p"), document.createElement("progress"));
    form.querySelector(".actions").before(place);
  }
  const [line, bar] = place.children;
  line.textContent = text || `${done.toLocaleString()}${total ? ` of ${total.toLocaleString()}` : ""} ${unit}`;
  bar.setAttribute("aria-label", line.textContent);
  if (total) (bar.max = total), (bar.value = done);
}

// ---- buttons -----------------------------------------------------------------------------------

/** Opens a dialog: `values` go into its fields by name and into its [data-slot] texts. */
function open(dialog, values) {
  $("form", dialog)?.reset();
  for (const [name, value] of Object.entries(values)) {
    for (const field of $$(`[name="${name}"]`, dialog)) field.value = value;
    for (const slot of $$(`[data-slot="${name}"]`, dialog)) slot.textContent = value;
  }
  for (const problem of $$(".problem", dialog)) problem.hidden = true;
  dialog.showModal();
  dialog.dispatchEvent(new CustomEvent("filled"));
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  const { dialog, fill, copyOf } = button.dataset;
  const copy = copyOf ? document.getElementById(copyOf).value : button.dataset.copy;
  if (dialog) open(document.getElementById(dialog), JSON.parse(fill || "{}"));
  if (button.dataset.close !== undefined) button.closest("dialog").close();
  if (copy !== undefined) {
    await navigator.clipboard.writeText(copy);
    const label = button.textContent;
    button.textContent = "copied";
    setTimeout(() => (button.textContent = label), 1500);
  }
});

// ---- times -------------------------------------------------------------------------------------

const moment = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });
const date = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const lately = { format: (when) => (when.toDateString() === new Date().toDateString() ? clock : date).format(when) };
const shapes = { day: new Intl.DateTimeFormat(undefined, { dateStyle: "long" }), clock, lately, moment };
const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });

function localise(root) {
  for (const element of $$("time[data-time]", root)) {
    const when = new Date(element.dateTime);
    element.textContent = shapes[element.dataset.time].format(when);
    element.title = exact.format(when);
  }
}

// ---- live regions ------------------------------------------------------------------------------

/** The document at `address`, or null when the node does not answer. */
async function fetched(address, signal) {
  const response = await fetch(address, { headers: { Accept: "text/html" }, signal });
  return new DOMParser().parseFromString(await response.text(), "text/html");
}

const regions = () => $$("[data-live][id]");
const topicsOf = (region) => region.dataset.live.split(" ").filter(Boolean);

let looks = 0;
const answered = new Map(); // id of a region -> the question whose answer it shows

const everything = () => true;

/** Asks for this view again and exchanges its [data-live] regions; `wanted` chooses among them. */
export async function refresh(wanted = everything) {
  const address = location.href;
  const number = ++looks;
  let fresh;
  try {
    fresh = await fetched(address);
  } catch {
    return;
  }
  if (address !== location.href) return;
  if (wanted === everything) knows(fresh);
  for (const old of regions()) {
    const now = fresh.getElementById(old.id);
    if (!now || !wanted(old) || (answered.get(old.id) ?? 0) > number) continue; // answers may overtake
    answered.set(old.id, number);
    localise(now);
    for (const one of $$("details[open][id]", old)) now.querySelector(`#${CSS.escape(one.id)}`)?.setAttribute("open", "");
    if (old.isEqualNode(now)) continue;
    if (!old.dispatchEvent(new CustomEvent("fresh", { detail: now, cancelable: true }))) continue; // its module does it
    const focused = old.contains(document.activeElement) ? document.activeElement : null;
    old.replaceChildren(...now.childNodes);
    if (focused) (document.getElementById(focused.id) ?? $$(focused.localName, old).find((one) => one.isEqualNode(focused)))?.focus();
  }
}

let source = null;
let followed = "";
let since = $("#main").dataset.event; // the last event of the node that what is shown knows of
let waiting = 0;
let asking = -Infinity; // when live regions were last asked for
const changed = new Set();
const SECOND = 1000;

function heard(topics) {
  const about = (wanted) => topics.some((topic) => topic === "gap" || topic === wanted || topic.startsWith(`${wanted}.`));
  for (const region of regions()) if (topicsOf(region).some(about)) changed.add(region.id);
  if (!changed.size) return;
  const pause = Math.max(0, asking + 0.4 * SECOND - performance.now());
  waiting ||= setTimeout(() => {
    waiting = 0;
    asking = performance.now();
    const about = new Set(changed); // what changes from now on is not in this answer
    changed.clear();
    refresh((region) => about.has(region.id));
  }, pause);
}

/** Progress of what runs; a list that has become another one is asked for again. */
function running({ running: works }) {
  const shown = $$("[data-work]").map((one) => one.dataset.work);
  if (String(shown) !== String(works.map((work) => work.number))) heard(["running"]);
  for (const work of works) {
    const line = $(`[data-work="${work.number}"]`);
    if (!line) continue;
    const bar = $("progress", line);
    if (work.total) (bar.max = work.total), (bar.value = work.done);
    $("[data-slot=progress]", line).textContent = work.text || `${work.done.toLocaleString()}${work.total ? ` of ${work.total.toLocaleString()}` : ""} ${work.unit}`;
  }
}

/** What is shown from now on is that of `fresh`, a view: its events are followed from there. */
function knows(fresh) {
  since = fresh.getElementById("main")?.dataset.event ?? since;
}

/** Follows the node's events while the page is looked at: a browser opens six connections at most. */
function follow() {
  const topics = String([...new Set(regions().flatMap(topicsOf))]);
  if (document.hidden || topics !== followed) source?.close(), (source = null);
  followed = topics;
  if (document.hidden || !topics || source) return;
  source = new EventSource(`${API}events?topics=${topics}${since && `&since=${since}`}`);
  const offline = $("#offline");
  source.onmessage = ({ data, lastEventId }) => {
    since = lastEventId || since; // a notice about several events has no number
    heard([JSON.parse(data).topic]);
  };
  source.addEventListener("running", ({ data }) => running(JSON.parse(data)));
  source.onopen = () => {
    if (!offline.hidden) refresh();
    offline.hidden = true;
  };
  source.onerror = () => {
    offline.textContent = "The node does not answer. What you see is from before; the page goes on by itself when the node is back (dms3 up).";
    offline.hidden = false;
    if (source?.readyState !== EventSource.CLOSED) return;
    source = null;
    setTimeout(follow, 3 * SECOND);
  };
}

document.addEventListener("visibilitychange", async () => {
  if (!document.hidden) await refresh();
  follow();
});
addEventListener("pagehide", () => source?.close());

// ---- search as you type ------------------------------------------------------------------------

let asked = null;
let pause = 0;

/** Shows the view at `address` in place of this one; an answer that comes too late is dropped. */
async function visit(address, how) {
  asked?.abort();
  const turn = (asked = new AbortController());
  let fresh;
  try {
    fresh = await fetched(address, turn.signal);
  } catch {
    return;
  }
  if (turn !== asked) return;
  const main = fresh.getElementById("main");
  if (!main) return location.assign(address);
  if (how) history[how](null, "", address);
  view = location.pathname + location.search;
  knows(fresh);
  localise(fresh.body);
  document.title = fresh.title;
  const same = $("#results") && fresh.getElementById("results");
  if (same) {
    $("#results").replaceChildren(...same.childNodes);
    $("#filters").replaceWith(fresh.getElementById("filters"));
  } else {
    $("#main").replaceChildren(...main.childNodes);
    for (const link of $$(".side a")) link.removeAttribute("aria-current");
  }
  $("#same").replaceChildren(...fresh.getElementById("same").childNodes);
  if (!same) startModules();
  follow();
}

function search() {
  clearTimeout(pause);
  const query = new URLSearchParams(new FormData($("[data-search]")));
  for (const field of $$("[data-filters] select")) if (field.value) query.set(field.name, field.value);
  const here = location.pathname === "/search";
  if (!query.get("q").trim() && !here) return;
  visit(`/search?${query}`, here ? "replaceState" : "pushState");
}

document.addEventListener("input", (event) => {
  if (event.target.id !== "q") return;
  clearTimeout(pause);
  pause = setTimeout(search, 120);
});
document.addEventListener("change", (event) => {
  if (event.target.closest("[data-search] .chips") && $("#q").value.trim()) search();
  if (event.target.closest("[data-filters]")) search();
});
document.addEventListener("submit", (event) => {
  if (!event.target.closest("[data-search], [data-filters]")) return;
  event.preventDefault();
  search();
});
// A link into the view that is shown, such as "Skip to the content", is a popstate, too.
let view = location.pathname + location.search;
addEventListener("popstate", () => {
  if (location.pathname + location.search !== view) visit(location.href, "");
});

/** Arrow keys lead from the search box into what was found, and back. */
function step(event) {
  const hits = $$(".hits li > a");
  const place = hits.indexOf(document.activeElement);
  if ((event.target.id !== "q" && place < 0) || !hits.length) return;
  const next = event.key === "ArrowDown" ? place + 1 : event.key === "ArrowUp" ? place - 1 : NaN;
  if (Number.isNaN(next)) return;
  event.preventDefault();
  (next < 0 ? $("#q") : hits[Math.min(next, hits.length - 1)]).focus();
}
document.addEventListener("keydown", step);

// ---- keys --------------------------------------------------------------------------------------

let going = -Infinity; // when "g" was pressed

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, textarea, select, dialog[open]");
  if (event.key === "Escape" && event.target.id === "q") return event.target.blur();
  if (typing || event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "/") {
    event.preventDefault();
    $("#q").focus();
    $("#q").select();
  } else if (event.key === "?") {
    open($("#keys"), {});
  } else if (event.key === "g") {
    going = event.timeStamp;
  } else if (event.timeStamp - going < 1500) {
    going = -Infinity;
    $(`a[data-key="${CSS.escape(event.key)}"]`)?.click();
  }
});

// ---- documents: share and remove ---------------------------------------------------------------

function sentence(form) {
  const until = form.elements.until?.value;
  const who = $("[data-slot=person]", form);
  if (!who || !form.elements.with) return;
  who.textContent = form.elements.with.value;
  $("[data-slot=end]", form).textContent = until ? `until ${shapes.day.format(new Date(`${until}T12:00`))}` : "until you take it back";
}
document.addEventListener("input", (event) => {
  const form = event.target.closest("form[data-command='store share']");
  if (form) sentence(form);
});
$("#share")?.addEventListener("filled", ({ target }) => {
  const field = $("[name=until]", target);
  if (field) field.min = new Date().toISOString().slice(0, 10);
  sentence($("form", target));
});

/** Removes a document after a moment in which it can be undone; at once when the page is left. */
function remove(button) {
  const { cid, space, name, next } = JSON.parse(button.dataset.remove);
  const row = button.closest("li");
  const go = async () => {
    removeEventListener("pagehide", go);
    clearTimeout(timer);
    try {
      await ask("store remove", { cid, space });
      if (next) return location.assign(next);
      await refresh();
    } catch (error) {
      back();
      tell(error.message);
    }
  };
  const back = () => {
    removeEventListener("pagehide", go);
    clearTimeout(timer);
    if (row) row.hidden = false;
    button.disabled = false;
  };
  const timer = setTimeout(go, UNDO);
  addEventListener("pagehide", go);
  if (row) row.hidden = true;
  button.disabled = true;
  tell(`${name} is being removed. Copies of others may still exist.`, { label: "Undo", run: back });
}
document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-remove]");
  if (button) remove(button);
});

// ---- documents: imports ------------------------------------------------------------------------

const UPLOADS_AT_ONCE = 3;
const BATCH_FILES = 32; // imported together: early ones are found while later ones are on their way
const BATCH_BYTES = 32e6;
const units = ["bytes", "KB", "MB", "GB", "TB"];

function size(count) {
  let unit = 0;
  while (count >= 999.5 && unit < units.length - 1) (count /= 1000), (unit += 1);
  return `${unit && count < 9.95 ? count.toFixed(1) : Math.round(count)} ${unit ? units[unit] : count === 1 ? "byte" : "bytes"}`;
}

/** Every file below a dropped entry as {file, path}; folders are read to their end. */
async function entries(entry, found) {
  const path = entry.fullPath.replace(/^\//, "");
  if (entry.isFile) {
    const file = await new Promise((resolve) => entry.file(resolve, (error) => resolve({ name: path, unread: error.message })));
    found.push({ file, path });
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    const some = await new Promise((resolve) => reader.readEntries(resolve, () => resolve([])));
    if (!some.length) return;
    for (const one of some) await entries(one, found);
  }
}

/** One upload: its id; `progress` is told the bytes that have gone. Throws a Refusal. */
function upload({ file, path }, progress, signal) {
  const place = path.includes("/") ? `path=${encodeURIComponent(path)}` : `name=${encodeURIComponent(path)}`;
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    let gone = 0;
    request.open("PUT", `${API}blob?${place}`);
    request.upload.onprogress = ({ loaded }) => progress((gone = loaded));
    request.onload = () => {
      let told = {};
      try {
        told = JSON.parse(request.responseText);
      } catch {
        told = { detail: `The node answered with status ${request.status}.` };
      }
      if (request.status === 201) resolve(told.data.id);
      else reject(new Refusal(told.code, told.detail, told.hint));
    };
    request.onerror = () => reject(new Refusal("cut", `The upload was cut off after ${size(gone)} of ${size(file.size)}.`, "Nothing of this file is kept; add it again."));
    request.onabort = () => reject(new Refusal("cancelled", "Cancelled."));
    signal.addEventListener("abort", () => request.abort());
    request.send(file);
  });
}

/** One drop: files go up a few at a time and are imported in batches, each file's failure by name. */
class Import {
  constructor(zone, found, space) {
    this.space = space;
    this.stop = new AbortController();
    this.queue = found.slice();
    this.files = found.length;
    this.bytes = found.reduce((sum, { file }) => sum + (file.size || 0), 0);
    Object.assign(this, { sent: new Map(), ready: [], imported: 0, importing: 0, unchanged: 0, failed: [] });
    this.box = document.createElement("div");
    this.box.className = "import";
    this.box.innerHTML = '<p class="row"><span></span><button type="button" class="quiet small">Cancel</button></p><progress aria-label="Import"></progress><ul class="list problems" hidden></ul>';
    $("button", this.box).onclick = () => this.stop.abort();
    $("[data-imports]", zone).prepend(this.box);
  }

  async run() {
    const leaving = (event) => event.preventDefault();
    addEventListener("beforeunload", leaving);
    this.show();
    let adding = Promise.resolve();
    const flush = (all) => {
      if (!this.ready.length) return;
      const enough = this.ready.length >= BATCH_FILES || this.ready.reduce((sum, one) => sum + one.file.size, 0) >= BATCH_BYTES;
      if (!all && !enough) return;
      const batch = this.ready.splice(0);
      adding = adding.then(() => this.addAll(batch));
    };
    const work = async () => {
      for (let one = this.queue.shift(); one && !this.stop.signal.aborted; one = this.queue.shift()) {
        await this.send(one);
        flush(false);
        if (this.files - this.imported > 4 * BATCH_FILES) await adding;
      }
    };
    await Promise.all(Array.from({ length: UPLOADS_AT_ONCE }, work));
    flush(true);
    await adding;
    removeEventListener("beforeunload", leaving);
    this.finish();
  }

  async send(one) {
    if (one.file.unread) return this.fail(one, `This browser could not read it: ${one.file.unread}`);
    try {
      one.id = await upload(one, (bytes) => (this.sent.set(one, bytes), this.show()), this.stop.signal);
      this.sent.set(one, one.file.size);
      this.ready.push(one);
    } catch (error) {
      this.fail(one, error.message, error.code);
    }
    this.show();
  }

  async addAll(batch) {
    const before = this.imported;
    try {
      if (this.stop.signal.aborted) throw new Refusal("cancelled", "Cancelled.");
      const done = await steps("store add", { paths: batch.map(({ id }) => id), space: this.space }, ({ done: count }) => ((this.imported = before + count), this.show()), this.stop.signal);
      this.imported = before + batch.length;
      this.unchanged += done.unchanged;
      for (const { path, reason, kept } of done.skipped) if (!kept) this.fail({ path }, reason);
    } catch (error) {
      this.imported = before;
      for (const one of batch) {
        this.fail(one, error.message, error.code);
        fetch(`${API}blob/${one.id.split("/")[0]}`, { method: "DELETE" }).catch(() => {});
      }
    }
    this.show();
    refresh();
  }

  fail({ path }, reason, code) {
    if (code === "cancelled") return;
    this.failed.push(path);
    const line = document.createElement("li");
    const name = document.createElement("strong");
    name.textContent = path;
    line.append(name, `: ${reason}`);
    const list = $("ul", this.box);
    list.hidden = false;
    if (this.failed.length <= 50) list.append(line);
  }

  show() {
    const sent = [...this.sent.values()].reduce((sum, bytes) => sum + bytes, 0);
    const bar = $("progress", this.box);
    bar.max = 2;
    bar.value = (this.bytes ? Math.min(1, sent / this.bytes) : 1) + this.imported / this.files;
    $("span", this.box).textContent = `Into ${this.space}: ${size(Math.min(sent, this.bytes))} of ${size(this.bytes)} sent, ${this.imported.toLocaleString()} of ${this.files.toLocaleString()} ${this.files === 1 ? "file" : "files"} imported`;
  }

  finish() {
    const good = this.imported - this.unchanged;
    const count = (number) => `${number.toLocaleString()} ${number === 1 ? "file" : "files"}`;
    const parts = [`${count(good)} imported into ${this.space}`];
    if (this.unchanged) parts.push(`${count(this.unchanged)} were there already`);
    if (this.failed.length) parts.push(`${count(this.failed.length)} failed`);
    if (this.stop.signal.aborted) parts.push("the rest was cancelled");
    $("span", this.box).textContent = `${parts.join(", ")}.`;
    $("progress", this.box).remove();
    const button = $("button", this.box);
    button.textContent = "Close";
    button.onclick = () => this.box.remove();
    refresh();
  }
}

function begin(zone, found) {
  if (!zone.dispatchEvent(new CustomEvent("dropped", { detail: found, bubbles: true, cancelable: true }))) return; // its module takes them
  const space = $("[data-space]", zone);
  space.value = space.value.trim() || "documents";
  if (!found.length) return tell("There was no file in what you dropped.");
  new Import(zone, found, space.value).run();
}

document.addEventListener("change", (event) => {
  const field = event.target.closest("[data-files]");
  if (!field) return;
  const found = [...field.files].map((file) => ({ file, path: file.webkitRelativePath || file.name }));
  field.value = "";
  begin(field.closest("[data-drop]"), found);
});

const carriesFiles = (event) => event.dataTransfer?.types.includes("Files");
document.addEventListener("dragover", (event) => {
  if (!carriesFiles(event)) return;
  event.preventDefault();
  event.dataTransfer.dropEffect = $("[data-drop]") ? "copy" : "none";
  $("[data-drop]")?.classList.add("over");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) $("[data-drop]")?.classList.remove("over");
});
document.addEventListener("drop", async (event) => {
  if (!carriesFiles(event)) return;
  event.preventDefault();
  const zone = $("[data-drop]");
  zone?.classList.remove("over");
  if (!zone) return tell("Files are imported on Home and on Documents, apps on Apps.");
  const dropped = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  const plain = [...event.dataTransfer.files].map((file) => ({ file, path: file.name }));
  const found = [];
  for (const entry of dropped) await entries(entry, found);
  begin(zone, dropped.length ? found : plain);
});

// ---- the proof of a login: this origin keeps it, for the forms that carry secrets -------------------

if (location.hash.startsWith("#proof=")) {
  localStorage.setItem("proof", location.hash.slice(7));
  history.replaceState(null, "", location.pathname + location.search);
}
for (const field of $$('input[name="proof"]')) field.value = localStorage.getItem("proof") ?? "";

// ---- what only some views need -------------------------------------------------------------------

async function startModules() {
  for (const place of $$("[data-module]")) (await import(place.dataset.module)).start({ ask, steps, size, refresh, upload, localise, open, tell, place });
}

startModules();
localise(document);
follow();
if ($("#q") && $("#q").value !== $("#q").defaultValue) search(); // typed before this script came
