// The page's script: commands as forms, live regions, search as you type, imports, keys.
// Everything it shows comes from the server as escaped HTML or goes through textContent.

const API = "/api/v1/";
const $ = (selector, root = document) => root.querySelector(selector);
const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];

// ---- commands ----------------------------------------------------------------------------------

/** What a failed answer says, for people: what happened, then what to do. */
class Refusal extends Error {
  constructor(code, message, hint = "") {
    super(hint ? `${message} ${hint}` : message);
    this.code = code;
  }
}

const unreachable = () =>
  new Refusal("node_unreachable", "The node does not answer.", "See that it runs (dms3 up), then try again.");

async function refusal(response) {
  try {
    const told = await response.json();
    if (told.code === "unauthorized") return new Refusal(told.code, "You are logged out.", "Open the page again with: dms3 open");
    return new Refusal(told.code, told.detail, told.hint);
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
    });
  } catch {
    throw unreachable();
  }
  if (!response.ok) throw await refusal(response);
  return (await response.json()).data;
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
    const data = await ask(form.dataset.command, given);
    form.closest("dialog")?.close();
    if (form.dataset.done) tell(filled(form.dataset.done, { ...given, ...data }));
    if (form.dataset.next) location.assign(form.dataset.next);
    if (!form.closest("dialog")) form.reset();
    await refresh();
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    if (!problem) return tell(error.message);
    problem.textContent = error.message;
    problem.hidden = false;
  } finally {
    for (const button of buttons) button.disabled = false;
  }
});

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
  const { dialog, fill, copy } = button.dataset;
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
const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });
const day = new Intl.DateTimeFormat(undefined, { dateStyle: "long" });

function localise(root) {
  for (const element of $$("time[data-time]", root)) {
    const when = new Date(element.dateTime);
    element.textContent = (element.dataset.time === "day" ? day : moment).format(when);
    element.title = exact.format(when);
  }
}

// ---- live regions ------------------------------------------------------------------------------

let refreshing = 0;

/** Asks for this view again and exchanges its [data-live] regions; `wanted` chooses among them. */
export async function refresh(wanted = () => true, address = location.href) {
  const turn = ++refreshing;
  let text;
  try {
    const response = await fetch(address, { headers: { Accept: "text/html" } });
    if (!response.ok && response.status !== 404) return;
    text = await response.text();
  } catch {
    return;
  }
  if (turn !== refreshing) return;
  const fresh = new DOMParser().parseFromString(text, "text/html");
  for (const old of $$("[data-live][id]")) {
    const now = fresh.getElementById(old.id);
    if (!now || !wanted(old) || old.isEqualNode(now)) continue;
    const focused = old.contains(document.activeElement) ? document.activeElement.id : "";
    const opened = $$("details[open][id]", old).map((one) => one.id);
    old.replaceChildren(...now.childNodes);
    localise(old);
    for (const id of opened) document.getElementById(id)?.setAttribute("open", "");
    if (focused) document.getElementById(focused)?.focus();
  }
}

/** Follows the node's events while the page is looked at; each region names its topics. */
function follow() {
  const regions = $$("[data-live][id]").filter((region) => region.dataset.live);
  const topics = [...new Set(regions.flatMap((region) => region.dataset.live.split(" ")))];
  if (!topics.length) return;
  let source = null;
  let timer = 0;
  const changed = new Set();
  const about = (topic, wanted) => topic === "gap" || topic === wanted || topic.startsWith(`${wanted}.`);
  const heard = ({ data }) => {
    const { topic } = JSON.parse(data);
    for (const region of regions) if (region.dataset.live.split(" ").some((one) => about(topic, one))) changed.add(region.id);
    timer ||= setTimeout(() => {
      timer = 0;
      refresh((region) => changed.delete(region.id));
    }, 400);
  };
  const listen = () => {
    if (document.hidden) return source?.close(), (source = null); // browsers open six connections at most
    if (source && source.readyState !== EventSource.CLOSED) return;
    source = new EventSource(`${API}events?topics=${topics}`);
    source.onmessage = heard;
    source.onopen = () => {
      if ($("#offline").hidden) return;
      $("#offline").hidden = true;
      refresh();
    };
    source.onerror = () => {
      $("#offline").textContent = "The node does not answer. What you see is from before; this page goes on when the node is back (dms3 up).";
      $("#offline").hidden = false;
      if (source.readyState === EventSource.CLOSED) setTimeout(listen, 3000);
    };
  };
  document.addEventListener("visibilitychange", () => {
    listen();
    if (!document.hidden) refresh();
  });
  listen();
}

// ---- keys --------------------------------------------------------------------------------------

let going = 0;

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, textarea, select, dialog[open]");
  if (event.key === "Escape" && event.target.id === "q") return event.target.blur();
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "/") {
    event.preventDefault();
    $("#q").focus();
    $("#q").select();
  } else if (event.key === "?") {
    open($("#keys"), {});
  } else if (event.key === "g") {
    going = event.timeStamp;
  } else if (event.timeStamp - going < 1500) {
    going = 0;
    $(`a[data-key="${CSS.escape(event.key)}"]`)?.click();
  }
});

// ---- what only some views need -------------------------------------------------------------------

for (const place of $$("[data-module]")) import(place.dataset.module).then(({ start }) => start({ ask, tell, refresh }));

localise(document);
follow();
