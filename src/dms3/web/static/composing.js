// What the form of a conversation needs: draft, reply and edit, attachments, sending.

/** What is being written to one person. A draft stays in this tab, so that it survives a refresh. */
class Composer {
  constructor({ ask, upload, refresh, size, place }) {
    Object.assign(this, { ask, upload, refresh, size, form: place });
    this.talk = place.closest("[data-person]");
    this.name = this.talk.dataset.person;
    this.box = place.elements.text;
    this.problem = place.querySelector(".problem");
    this.key = `draft:${this.name}`;
    this.about = null; // {what: "reply" or "edit", hash, said}
    this.files = [];
    this.before = ""; // what was being written when an edit began
    this.sending = null;
  }

  begin() {
    const { form, box, talk } = this;
    try {
      const { text, about } = JSON.parse(sessionStorage.getItem(this.key) ?? "{}");
      this.concerns(about ?? null);
      // What was typed before this script came is newer than any draft.
      if (box.value) this.keep();
      else box.value = text ?? "";
    } catch {
      sessionStorage.removeItem(this.key);
    }
    this.grow();
    box.addEventListener("input", () => (this.grow(), this.keep()));
    box.addEventListener("keydown", (event) => this.pressed(event));
    box.addEventListener("paste", (event) => this.taken(event, event.clipboardData?.files));
    form.addEventListener("submit", (event) => (event.preventDefault(), this.send()));
    form.addEventListener("about", ({ detail }) => this.begun(detail));
    form.querySelector("[data-cancel]").onclick = () => this.cancel();
    form.querySelector("[data-attach]").onchange = ({ target }) => {
      this.add(target.files);
      target.value = "";
    };
    const carries = (event) => event.dataTransfer?.types.includes("Files");
    talk.addEventListener("dragover", (event) => {
      if (!carries(event)) return;
      event.preventDefault();
      event.stopPropagation();
      event.dataTransfer.dropEffect = "copy";
      talk.classList.add("over");
    });
    talk.addEventListener("dragleave", (event) => talk.contains(event.relatedTarget) || talk.classList.remove("over"));
    talk.addEventListener("drop", (event) => {
      talk.classList.remove("over");
      if (carries(event)) this.taken(event, event.dataTransfer.files);
    });
    if (matchMedia("(hover: hover)").matches && !location.hash) box.focus({ preventScroll: true });
  }

  grow() {
    this.box.rows = Math.min(8, this.box.value.split("\n").length);
  }

  keep() {
    const { value } = this.box;
    if (value || this.about) sessionStorage.setItem(this.key, JSON.stringify({ text: value, about: this.about }));
    else sessionStorage.removeItem(this.key);
  }

  write(text) {
    this.box.value = text;
    this.grow();
    this.keep();
  }

  pressed(event) {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      this.send();
    } else if (event.key === "Escape" && this.about) {
      event.preventDefault();
      this.cancel();
    }
  }

  /** Begins a reply, an edit, or the same text again. */
  begun({ what, hash, said }) {
    if (this.about?.what === "edit") this.cancel();
    if (what !== "reply") this.before = this.box.value;
    this.concerns(what === "again" ? null : { what, hash, said });
    if (what !== "reply") this.write(said);
    this.keep();
    this.box.focus();
  }

  concerns(about) {
    this.about = about;
    const line = this.form.querySelector("[data-about]");
    line.hidden = !about;
    line.firstElementChild.textContent = about ? `${about.what === "edit" ? "Editing" : "Reply to"}: ${about.said.slice(0, 160)}` : "";
  }

  cancel() {
    const edited = this.about?.what === "edit";
    this.concerns(null);
    this.write(edited ? this.before : this.box.value);
    this.box.focus();
  }

  taken(event, files) {
    if (!files?.length) return;
    event.preventDefault();
    event.stopPropagation();
    this.add(files);
  }

  add(files) {
    this.files.push(...[...files].map((file) => ({ file, path: file.name })));
    this.show();
    this.box.focus();
  }

  /** The files that go with the message, each with a button that takes it away. */
  show() {
    const list = this.form.querySelector("[data-attached]");
    list.hidden = !this.files.length;
    list.replaceChildren(
      ...this.files.map((one) => {
        const line = document.createElement("li");
        const button = document.createElement("button");
        one.bar = document.createElement("progress");
        Object.assign(one.bar, { hidden: true, max: one.file.size || 1, value: 0 });
        one.bar.setAttribute("aria-label", `Sending ${one.path}`);
        Object.assign(button, { type: "button", className: "quiet small", textContent: "Remove" });
        button.setAttribute("aria-label", `Remove ${one.path}`);
        button.onclick = () => {
          this.sending?.abort();
          this.files.splice(this.files.indexOf(one), 1);
          this.show();
          this.box.focus();
        };
        line.append(`${one.path}, ${this.size(one.file.size)} `, button, one.bar);
        return line;
      }),
    );
  }

  async send() {
    const text = this.box.value.trim();
    if (this.sending || (!text && !this.files.length)) return;
    const { about, form } = this;
    this.sending = new AbortController();
    this.problem.hidden = true;
    this.box.readOnly = true;
    try {
      if (about?.what === "edit") await this.ask("message edit", { hash: about.hash, text });
      else await this.ask("message send", { name: this.name, text, ...(await this.attached()), ...(about && { reply: about.hash }) });
      this.files = [];
      this.show();
      this.concerns(null);
      this.write(about?.what === "edit" ? this.before : "");
      form.dispatchEvent(new Event("said", { bubbles: true }));
      this.refresh();
    } catch (error) {
      this.problem.textContent = error.message;
      this.problem.hidden = error.code === "cancelled";
    } finally {
      this.sending = null;
      this.box.readOnly = false;
      this.box.focus();
    }
  }

  async attached() {
    if (!this.files.length) return {};
    const attach = [];
    for (const one of this.files) {
      one.bar.hidden = false;
      one.id ??= await this.upload(one, (bytes) => (one.bar.value = bytes), this.sending.signal);
      attach.push(one.id);
    }
    return { attach };
  }
}

export function start(given) {
  new Composer(given).begin();
}
