// What an open conversation needs: what is new joins what is there, days, keys, what was seen.

const SECOND = 1000;
const DAY = 24 * 3600 * SECOND;
const WORD_MS = 1500; // after "g" the next key leads to another view
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "full" });
const midnight = (moment) => new Date(moment).setHours(0, 0, 0, 0);

/** "Today", "Yesterday" or the date of a moment, both in milliseconds. */
export function dayOf(moment, now = Date.now()) {
  const days = Math.round((midnight(now) - midnight(moment)) / DAY);
  return ["Today", "Yesterday"][days] ?? full.format(moment);
}

/** "40 s", "5 min", "3 h": how long until something, in seconds. */
export function span(seconds) {
  if (seconds < 90) return `${seconds} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
}

const rowsOf = (list) => [...list.querySelectorAll(":scope > .said")];

/** The day above the first message of each day, and what is new above the first that is. */
function separate(list, newest) {
  let last = "";
  for (const row of rowsOf(list)) {
    const day = dayOf(Number(row.dataset.order) / 1000);
    const parts = [day === last ? "" : day, row.id === newest ? "New" : ""].filter(Boolean);
    if (parts.length) row.dataset.above = parts.join(" · ");
    else delete row.dataset.above;
    last = day;
  }
}

/** Makes `old` what `now` is; what is the same in it is not touched, as it may be under the pointer. */
function patch(old, now) {
  const focused = old.contains(document.activeElement);
  for (const { name, value } of [...now.attributes]) old.setAttribute(name, value);
  const [was, is] = [old.firstElementChild, now.firstElementChild];
  const menu = is.querySelector(":scope > details");
  menu?.toggleAttribute("open", was.querySelector(":scope > details")?.open ?? false);
  const fresh = [...is.children];
  for (const one of [...was.children]) {
    const same = fresh.findIndex((other) => other.isEqualNode(one));
    if (same < 0) {
      one.remove();
      continue;
    }
    one.before(...fresh.splice(0, same + 1).slice(0, -1));
  }
  was.append(...fresh);
  if (focused && !old.contains(document.activeElement)) old.focus({ preventScroll: true });
}

/** The newest messages, `fresh`, join what is there; what was loaded from before them stays. */
export function join(list, fresh) {
  const known = new Map(rowsOf(list).map((row) => [row.id, row]));
  const rows = rowsOf(fresh);
  const first = Number(rows[0]?.dataset.order ?? Infinity);
  const meets = rows.some((row) => known.has(row.id));
  const wanted = new Set(rows.map((row) => row.id));
  const earlier = meets ? [...known.values()].filter((row) => !wanted.has(row.id) && Number(row.dataset.order) < first) : [];
  let place = earlier.length ? earlier.at(-1).nextElementSibling : list.firstElementChild;
  for (const row of rows) {
    const old = known.get(row.id);
    if (old) patch(old, row);
    const here = old ?? row;
    if (place === here) place = place.nextElementSibling;
    else list.insertBefore(here, place);
  }
  while (place) {
    const next = place.nextElementSibling;
    place.remove();
    place = next;
  }
}

/** One open conversation. */
class Talk {
  constructor({ ask, refresh, localise, open, tell, place }) {
    Object.assign(this, { ask, refresh, localise, open, tell, place });
    this.log = place.querySelector("[data-log]");
    this.list = place.querySelector("#said");
    this.below = place.querySelector("[data-below]");
    this.form = place.querySelector("[data-compose]");
    this.told = new Set();
    this.newest = this.rows().find((row) => row.matches(".theirs[data-state=received]"))?.id;
    this.last = { key: "", at: -Infinity };
    this.sticks = true;
  }

  begin() {
    const { log, list, place } = this;
    separate(list, this.newest);
    const marked = document.getElementById(location.hash.slice(1));
    if (marked && list.contains(marked)) this.focus(marked, "center");
    else this.toEnd();
    list.addEventListener("fresh", (event) => (event.preventDefault(), this.fresh(event.detail)));
    log.addEventListener("scroll", () => this.scrolled(), { passive: true });
    new ResizeObserver(() => this.sticks && this.toEnd()).observe(list);
    new ResizeObserver(() => this.sticks && this.toEnd()).observe(log);
    place.addEventListener("click", (event) => this.clicked(event));
    place.addEventListener("keydown", (event) => this.pressed(event));
    place.addEventListener("said", () => (this.sticks = true));
    this.below.onclick = () => this.toEnd();
    const looked = () => (place.isConnected ? this.seen() : document.removeEventListener("visibilitychange", looked));
    document.addEventListener("visibilitychange", looked);
    this.seen();
    this.countDown();
  }

  rows() {
    return rowsOf(this.list);
  }

  toEnd() {
    this.log.scrollTop = this.log.scrollHeight;
    this.below.hidden = true;
  }

  scrolled() {
    const { log } = this;
    this.sticks = log.scrollHeight - log.scrollTop - log.clientHeight < 48;
    if (this.sticks) this.below.hidden = true;
    if (log.scrollTop < 48) this.earlier();
  }

  /** What the server has now. */
  fresh(detail) {
    const had = this.rows().at(-1)?.id;
    const height = this.log.scrollHeight;
    const top = this.log.scrollTop;
    join(this.list, detail);
    separate(this.list, this.newest);
    if (this.list.childElementCount) this.place.querySelector("[data-nothing]")?.remove();
    if (this.sticks) this.toEnd();
    else if (this.log.scrollTop === top && had && this.rows().at(-1)?.id !== had && this.log.scrollHeight > height) this.below.hidden = false;
    this.countDown(false);
    this.seen();
  }

  /** Loads the messages before the first one shown, which stays where it is. */
  async earlier() {
    const link = this.place.querySelector("[data-earlier]");
    if (!link || this.loading) return;
    this.loading = true;
    try {
      const answer = await fetch(link.href, { headers: { Accept: "text/html" } });
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const more = page.getElementById("said");
      const next = page.querySelector("[data-earlier]");
      if (!more) return;
      this.localise(more);
      const fromEnd = this.log.scrollHeight - this.log.scrollTop;
      this.list.prepend(...rowsOf(more).filter((row) => !document.getElementById(row.id)));
      separate(this.list, this.newest);
      if (next) link.href = next.href;
      else link.parentElement.remove();
      this.log.scrollTop = this.log.scrollHeight - fromEnd;
    } catch {
      // the page says already that the node does not answer
    } finally {
      this.loading = false;
    }
  }

  /** Says once of each message that it was on a screen; the node tells its sender, if it may. */
  seen() {
    if (document.hidden || this.place.dataset.standing !== "contact") return;
    const seen = this.rows().filter((row) => row.matches(".theirs[data-state=received]") && !this.told.has(row.id));
    if (!seen.length) return;
    for (const row of seen) this.told.add(row.id);
    const told = this.ask("message opened", { name: this.place.dataset.person });
    told.then(({ read }) => read && this.refresh()).catch(() => {
      for (const row of seen) this.told.delete(row.id);
    });
  }

  /** "Tried again in 40 s", second by second while there is something that is. */
  countDown(again = true) {
    const waiting = this.list.querySelectorAll("[data-retry]");
    for (const one of waiting) {
      const left = Math.round(Number(one.dataset.retry) / 1e6 - Date.now() / SECOND);
      one.textContent = left > 0 ? `Tried again in ${span(left)}.` : "Tried again now.";
    }
    if (again && this.place.isConnected) setTimeout(() => this.countDown(), SECOND);
  }

  async clicked(event) {
    if (event.target.closest("[data-earlier]")) return event.preventDefault(), this.earlier();
    const button = event.target.closest("[data-act]");
    if (button) await this.act(button.dataset.act, button.closest(".said"), button.dataset.text);
  }

  async act(what, row, text) {
    const hash = row.dataset.hash;
    const said = row.querySelector(".text")?.textContent ?? "";
    row.querySelector("details")?.removeAttribute("open");
    if (what === "delete") return this.open(document.getElementById("delete-message"), { hash });
    if (what === "other") return this.open(document.getElementById("react"), { hash });
    if (what !== "react") return this.form?.dispatchEvent(new CustomEvent("about", { detail: { what, hash, said } }));
    try {
      await this.ask("message react", { hash, text });
      await this.refresh();
    } catch (error) {
      this.tell(error.message);
    }
  }

  focus(row, block = "nearest") {
    row?.focus({ preventScroll: true });
    row?.scrollIntoView({ block });
  }

  /** Arrows along the messages; letters for what can be done with the one that has the focus. */
  pressed(event) {
    const before = this.last;
    this.last = { key: event.key, at: event.timeStamp };
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    const { target, key } = event;
    const box = this.form?.elements.text;
    const rows = this.rows();
    const row = target.classList.contains("said") ? target : null;
    const along = { ArrowUp: -1, ArrowDown: 1 }[key];
    if (along && (row || target === this.log || (target === box && along < 0 && !box.value))) {
      event.preventDefault();
      const next = row ? rows.indexOf(row) + along : rows.length - 1;
      return next < rows.length ? this.focus(rows[Math.max(0, next)]) : box?.focus();
    }
    if (!row || (before.key === "g" && event.timeStamp - before.at < WORD_MS)) return;
    const what = { r: "reply", e: "edit", "+": "other", Delete: "delete", Backspace: "delete" }[key];
    if (key === "Escape") box?.focus();
    else if (key === "Enter") row.querySelector("summary")?.click();
    else if (what && row.querySelector(`[data-act=${what}]`)) this.act(what, row);
    else return;
    event.preventDefault();
  }
}

/** The code of the picture on the other screen, compared with the one known here. */
function compare(form) {
  const plain = (text) => text.toUpperCase().replace(/^\s*DMS3-KEYS:|\s/g, "");
  const result = form.querySelector("[data-result]");
  form.addEventListener("submit", (event) => event.preventDefault());
  const look = () => {
    const typed = plain(form.elements.code.value);
    const same = typed === plain(form.dataset.compare);
    result.className = !typed || same ? "" : "problem";
    result.textContent = !typed ? "" : same ? "The same: nobody is in between." : "Not the same. Look whether it is the picture of this person; if it is, write nothing that matters.";
  };
  form.addEventListener("input", look);
  look(); // typed before this script came
}

export function start(given) {
  if (given.place.dataset.compare) compare(given.place);
  else new Talk(given).begin();
}
