import { call, on } from "/dapp.js";

const form = document.querySelector("form");
const said = document.querySelector("[role=status]");
const list = document.querySelector("ol");
const empty = document.querySelector(".empty");

function row(line) {
  const item = document.createElement("li");
  const text = document.createElement("p");
  text.textContent = line.text;
  const about = document.createElement("footer");
  const moment = new Date(line.time / 1000);
  const time = document.createElement("time");
  time.dateTime = moment.toISOString();
  time.textContent = moment.toLocaleString();
  about.append(`${line.name || line.author.slice(0, 8)}, `, time);
  item.append(text, about);
  return item;
}

async function show() {
  try {
    const lines = await call("entries");
    list.replaceChildren(...lines.reverse().map(row));
    empty.hidden = lines.length > 0;
  } catch (problem) {
    said.textContent = `${problem.message} ${problem.hint}`;
  }
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const { name, text } = Object.fromEntries(new FormData(form));
  said.textContent = "";
  try {
    await call("sign", { name, text });
    form.elements.text.value = "";
  } catch (problem) {
    said.textContent = `${problem.message} ${problem.hint}`;
  }
  await show();
});

on(show);
show();
setInterval(show, 10000);
