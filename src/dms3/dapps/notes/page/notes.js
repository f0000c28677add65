import { about, call, on } from "/dapp.js";

const [groupForm, noteForm] = document.querySelectorAll("form");
const said = document.querySelector("[role=status]");
const [list, draftList] = document.querySelectorAll("ol");
const empty = document.querySelector(".empty");
const known = document.querySelector("datalist");
let me = "";
let editing = "";

const group = () => groupForm.elements.group.value.trim();

async function attempt(work) {
  said.textContent = "";
  try {
    await work();
  } catch (problem) {
    said.textContent = `${problem.message} ${problem.hint || ""}`;
  }
}

function button(text, work) {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = text;
  made.addEventListener("click", () => attempt(async () => { await work(); await show(); }));
  return made;
}

function row(one, buttons) {
  const item = document.createElement("li");
  const title = document.createElement("h3");
  title.textContent = one.title;
  const text = document.createElement("p");
  text.textContent = one.text;
  const foot = document.createElement("footer");
  const moment = new Date(one.time / 1000).toLocaleString();
  foot.append(`${one.author ? one.author.slice(0, 8) + ", " : ""}${one.changed ? "changed " : ""}${moment} `);
  foot.append(...buttons);
  item.append(title, text, foot);
  return item;
}

function take(one, id) {
  editing = id;
  noteForm.elements.title.value = one.title;
  noteForm.elements.text.value = one.text;
  noteForm.elements.title.focus();
}

function noteRow(one) {
  if (one.author !== me) return row(one, []);
  return row(one, [
    button("Change", async () => take(one, one.note)),
    button("Delete", () => call("delete", { note: one.note })),
  ]);
}

function draftRow(one) {
  return row(one, [
    button("Put into the group", async () => {
      await call("write", { group: group(), title: one.title, text: one.text });
      await call("drop_draft", { draft: one.draft });
    }),
    button("Delete", () => call("drop_draft", { draft: one.draft })),
  ]);
}

async function show() {
  const [notes, drafts, groups] = await Promise.all([
    call("notes", { group: group() }), call("drafts"), call("groups"),
  ]);
  list.replaceChildren(...notes.map(noteRow));
  empty.hidden = notes.length > 0;
  draftList.replaceChildren(...drafts.map(draftRow));
  known.replaceChildren(...groups.map((name) => new Option(name, name)));
}

noteForm.addEventListener("submit", (event) => {
  event.preventDefault();
  const { title, text } = Object.fromEntries(new FormData(noteForm));
  attempt(async () => {
    if (event.submitter.value === "draft") await call("save_draft", { title, text });
    else if (editing) await call("edit", { note: editing, title, text });
    else await call("write", { group: group(), title, text });
    editing = "";
    noteForm.reset();
    await show();
  });
});
groupForm.addEventListener("submit", (event) => event.preventDefault());
groupForm.elements.group.addEventListener("change", () => attempt(show));
on(() => attempt(show));
attempt(async () => { me = (await about()).agent; await show(); });
setInterval(() => attempt(show), 10000);
