// What the views of apps need: functions called from forms, their answers as text, pages opened in a
// tab of their own, folders installed, and looks at what is not done yet.

const LOOK_MS = 1500; // between two looks at a start or a journey: most of it tells of itself by events
const ROWS_SHOWN = 200;
const IDENTIFIER = /^([a-z2-7]{40,80}|[0-9a-f]{32,128})$/;
const HASH = /^bafyrei[a-z2-7]{52}$/;
const SHORT = 12; // characters of an identifier that are shown

function element(name, text = "", more = {}) {
  const made = document.createElement(name);
  if (text !== "") made.textContent = text;
  for (const [key, value] of Object.entries(more)) made.setAttribute(key, value);
  return made;
}

/** An identifier: its beginning, leading to its journey when it is a hash, and a button that copies it. */
function identifier(text, app) {
  const whole = element("span", "", { class: "hash" });
  const code = element("code", text.slice(0, SHORT));
  const link = element("a", "", { href: `/apps/${encodeURIComponent(app)}/${text}` });
  link.append(code);
  whole.append(HASH.test(text) ? link : code, " ", element("button", "copy", { type: "button", class: "copy", "data-copy": text, "aria-label": "Copy the identifier" }));
  return whole;
}

function moment(us) {
  const when = new Date(us / 1000);
  return element("time", when.toISOString(), { datetime: when.toISOString(), "data-time": "moment" });
}

/** JSON values as elements a person can read; what others wrote stays text. */
export function readable(value, app, key = "", depth = 0) {
  if (value === null || value === undefined) return element("span", "nothing", { class: "soft" });
  if (typeof value === "boolean") return element("span", value ? "yes" : "no");
  if (typeof value === "number") return /(^|_)(time|us)$/.test(key) && value > 1e15 && value < 8e18 ? moment(value) : element("span", String(value));
  if (typeof value === "string") return IDENTIFIER.test(value) ? identifier(value, app) : element("span", value, { class: "said-text" });
  if (depth > 4) return element("code", JSON.stringify(value));
  if (Array.isArray(value)) {
    if (!value.length) return element("span", "none", { class: "soft" });
    const list = element("ol", "", { class: "value" });
    for (const one of value.slice(0, ROWS_SHOWN)) {
      const line = element("li");
      line.append(readable(one, app, key, depth + 1));
      list.append(line);
    }
    if (value.length > ROWS_SHOWN) list.append(element("li", `and ${(value.length - ROWS_SHOWN).toLocaleString()} more`));
    return list;
  }
  const names = Object.keys(value);
  if (!names.length) return element("span", "empty", { class: "soft" });
  const facts = element("dl", "", { class: "facts value" });
  for (const name of names) {
    const said = element("dd");
    said.append(readable(value[name], app, name, depth + 1));
    facts.append(element("dt", name), said);
  }
  return facts;
}

/** What a form says, by name; throws an Error that says which field is wrong. */
export function argumentsOf(form) {
  const whole = form.querySelector("[data-json]");
  if (whole) return parsed(whole.value || "{}", "The arguments");
  const found = {};
  for (const field of form.querySelectorAll("[data-kind]")) {
    const { kind } = field.dataset;
    const empty = kind !== "yes" && field.value === "";
    if (empty && field.dataset.needed === undefined) continue;
    if (kind === "yes") found[field.name] = field.checked;
    else if (kind === "number") found[field.name] = Number(field.value);
    else found[field.name] = kind === "json" ? parsed(field.value, field.name) : field.value;
  }
  return found;
}

function parsed(text, what) {
  try {
    return JSON.parse(text);
  } catch {
    throw new Error(`${what}: this is not JSON. For example {"text": "hello"} or ["one", "two"].`);
  }
}

/** A broken rule: its name, where it stands, what about, whose. Other errors are a sentence. */
function problem(error, app) {
  const lines = [element("p", error.message)];
  const about = error.about;
  if (about?.rule) {
    const first = element("p");
    first.append(element("strong", about.rule), about.line ? `, line ${about.line} of the rules` : "", about.detail ? `: ${about.detail}` : "");
    const second = element("p", "Nothing was written. ");
    if (about.entry) second.append("Entry ", identifier(about.entry, ""), ". ");
    if (about.author) second.append("Written by ", identifier(about.author, app), ".");
    lines.splice(0, 1, first, second);
    second.querySelector("a")?.replaceWith(...second.querySelector("a").childNodes); // it is nowhere
  }
  return lines;
}

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

async function call(form, { ask, localise, refresh }) {
  const { call: app, function: name } = form.dataset;
  const [wrong, result, button] = [form.querySelector(".problem"), form.querySelector("[data-result]"), form.querySelector(".actions button")];
  wrong.hidden = true;
  result.replaceChildren();
  button.disabled = true;
  try {
    const given = argumentsOf(form);
    const { value } = await ask("dapp call", { dapp: app, function: name, arguments: given });
    const line = `dms3 dapp call ${app} ${name}${Object.keys(given).length ? ` ${quoted(JSON.stringify(given))}` : ""}`;
    const same = element("p", "", { class: "soft command" });
    same.append(element("code", line), " ", element("button", "copy", { type: "button", class: "copy", "data-copy": line, "aria-label": "Copy the command" }));
    result.append(element("h3", "Answer"), readable(value, app), same);
    localise(result);
    await refresh();
  } catch (error) {
    wrong.replaceChildren(...problem(error, app));
    wrong.hidden = false;
  } finally {
    button.disabled = false;
  }
}

/** Opens the page of an app: the tab at once, since browsers let only a click do that. */
async function open(button, { ask, tell }) {
  const tab = window.open("about:blank", "_blank");
  try {
    const { url } = await ask("dapp open", { dapp: button.dataset.open });
    if (!tab) return tell(`This browser let no tab open. Allow it for this page, or use: dms3 dapp open ${button.dataset.open}`);
    tab.opener = null;
    tab.location.replace(url);
  } catch (error) {
    tab?.close();
    tell(error.message);
  }
}

/** Installs the folder whose files were dropped; other rules may take the place of `data-app`. */
async function install(zone, found, { steps, upload, size }) {
  const box = element("div", "", { class: "import" });
  const [line, bar] = [element("p", "", { role: "status" }), element("progress", "", { "aria-label": "Installing" })];
  const show = ({ done, total, unit, text }) => (line.textContent = text || `${done.toLocaleString()}${total ? ` of ${total.toLocaleString()}` : ""} ${unit}`);
  box.append(line, bar);
  zone.querySelector("[data-imports]").replaceChildren(box);
  const never = new AbortController().signal;
  let files = [];
  const run = async (command, given) => {
    const { name } = await steps(command, { ...given, files }, show);
    location.assign(`/apps/${encodeURIComponent(name)}`);
  };
  const failed = (error) => {
    bar.remove();
    line.className = "problem";
    line.textContent = error.message;
  };
  try {
    const kept = found.filter(({ path }) => !/(^|\/)(\.|__pycache__\/)/.test(path));
    for (const one of kept) {
      line.textContent = `${one.path}, ${size(one.file.size ?? 0)}`;
      files.push(await upload(one, () => {}, never));
    }
    await run("dapp install", zone.dataset.app ? { name: zone.dataset.app } : {});
  } catch (error) {
    failed(error);
    if (error.code !== "already_exists" || !zone.dataset.app) return;
    const button = element("button", "Go on in it; close my chain here", { type: "button", class: "danger" });
    button.onclick = () => (button.remove(), run("dapp migrate", { dapp: zone.dataset.app }).catch(failed));
    box.append(button);
  }
}

let begun = false; // modules stay when views change; listeners are set once

export function start(page) {
  if (begun) return;
  begun = true;
  document.addEventListener("submit", (event) => {
    const form = event.target.closest("form[data-call]");
    if (!form) return;
    event.preventDefault();
    call(form, page);
  });
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-open]");
    if (button) open(button, page);
  });
  document.addEventListener("dropped", (event) => {
    const zone = event.target.closest("[data-drop]");
    if (zone.querySelector("[data-space]")) return; // documents
    event.preventDefault();
    install(zone, event.detail, page);
  });
  let starting = false;
  const look = async () => {
    setTimeout(look, LOOK_MS);
    if (document.hidden) return;
    const now = Boolean(document.querySelector("[data-starting]"));
    if (starting && !now) return location.reload(); // its functions have become known
    starting = now;
    if (now || document.querySelector("[data-poll]")) await page.refresh((region) => region.querySelector("[data-poll], [data-starting]") || region.id === "signed");
  };
  look();
}
