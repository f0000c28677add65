// What the settings view needs: a long command with a bar that fills, and what came of it in words.

const counted = (count, noun) => `${count.toLocaleString()} ${noun}${count === 1 ? "" : "s"}`;

/** What `store verify` found, for people. */
export function verdict({ blocks, bytes, documents, damaged }) {
  if (!damaged.length) return [`Everything is whole: ${counted(documents, "document")}, ${counted(blocks, "block")}.`];
  return [`${counted(damaged.length, "thing")} of ${counted(documents, "document")} damaged:`, ...damaged.map(({ what, reason }) => `${what}: ${reason}`)];
}

function say(place, lines, bad) {
  place.replaceChildren(
    ...lines.map((line) => {
      const paragraph = document.createElement("p");
      paragraph.textContent = line;
      if (bad) paragraph.className = "problem";
      return paragraph;
    }),
  );
}

export function start({ steps, place }) {
  for (const form of place.querySelectorAll("form[data-steps]")) {
    const result = place.querySelector("[data-result]");
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const button = form.querySelector("button");
      const bar = document.createElement("progress");
      bar.setAttribute("aria-label", "Checked");
      result.replaceChildren(bar);
      button.disabled = true;
      try {
        const data = await steps(form.dataset.steps, {}, ({ done, total }) => {
          if (total) [bar.max, bar.value] = [total, done];
        });
        say(result, verdict(data), data.damaged.length > 0);
      } catch (error) {
        say(result, [error.message], true);
      } finally {
        button.disabled = false;
      }
    });
  }
}
