import { about, call, on } from "/dapp.js";

const [cardForm, proposeForm] = document.querySelectorAll("form");
const said = document.querySelector("[role=status]");
const [waitingList, signedList] = document.querySelectorAll("ol");
let me = "";

async function attempt(work) {
  said.textContent = "";
  try {
    await work();
    await show();
  } catch (problem) {
    said.textContent = `${problem.message} ${problem.hint || ""}`;
  }
}

function button(text, work) {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = text;
  made.addEventListener("click", () => attempt(work));
  return made;
}

function row(title, text, about, buttons) {
  const item = document.createElement("li");
  const head = document.createElement("h3");
  head.textContent = title;
  const body = document.createElement("p");
  body.textContent = text;
  const foot = document.createElement("footer");
  foot.append(`${about} `, ...buttons);
  item.append(head, body, foot);
  return item;
}

function waitingRow(one) {
  const { title, text } = one.content;
  const until = new Date(one.until_us / 1000).toLocaleString();
  const signed = one.signed.includes(me);
  const buttons = signed ? [] : [
    button("Sign", () => call("accept", { session: one.session })),
    button("Decline", () => call("decline", { session: one.session })),
  ];
  return row(title, text, `${signed ? "You have signed; the other has" : "You are asked"} until ${until}.`, buttons);
}

function signedRow(one) {
  const when = new Date(one.time / 1000).toLocaleString();
  return row(one.title, one.text, `Signed ${when}.`, [
    button("Verify", async () => {
      const found = await call("verify", { agreement: one.agreement });
      alertRow(one, found);
    }),
  ]);
}

function alertRow(one, found) {
  said.textContent = found.valid
    ? `${one.title}: both have signed; ${found.holders} nodes hold it.`
    : `${one.title}: it is not signed by both.`;
}

async function show() {
  const [people, waiting, agreements] = await Promise.all([
    call("people"), call("waiting"), call("agreements"),
  ]);
  const chosen = proposeForm.elements.partner.value;
  proposeForm.elements.partner.replaceChildren(
    ...people.map((one) => new Option(one.name, one.agent, false, one.agent === chosen)),
  );
  waitingList.replaceChildren(...waiting.map(waitingRow));
  signedList.replaceChildren(...agreements.map(signedRow));
}

cardForm.addEventListener("submit", (event) => {
  event.preventDefault();
  attempt(() => call("introduce", { name: cardForm.elements.name.value }));
});
proposeForm.addEventListener("submit", (event) => {
  event.preventDefault();
  const { partner, title, text } = Object.fromEntries(new FormData(proposeForm));
  attempt(async () => {
    await call("propose", { partner, title, text });
    proposeForm.elements.title.value = "";
    proposeForm.elements.text.value = "";
  });
});
on(() => attempt(async () => {}));
attempt(async () => { me = (await about()).agent; });
setInterval(() => show().catch(() => {}), 5000);
