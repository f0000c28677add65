// What the page of an app imports: call(function, arguments) and on(handler) for its signals.
// Served by every dms3 node at /dapp.js of the app's own origin; see docs/dapps.md, "The page".

export class Failed extends Error {
  constructor(problem) {
    super(problem.detail || "The node did not answer.");
    this.name = "Failed";
    this.code = problem.code || "node_unreachable";
    this.hint = problem.hint || "";
    this.about = problem.about || null;
  }
}

async function ask(path, options) {
  let response;
  try {
    response = await fetch(path, { credentials: "same-origin", ...options });
  } catch (cause) {
    throw new Failed({ detail: "Your node does not answer.", hint: "Start it: dms3 up" });
  }
  const body = await response.json();
  if (!response.ok) throw new Failed(body);
  return body.data;
}

// The value that an exposed function of this app returns; throws Failed.
export async function call(name, args = {}) {
  const body = JSON.stringify({ function: name, arguments: args });
  const headers = { "Content-Type": "application/json" };
  const data = await ask("/api/v1/dapp/call", { method: "POST", headers, body });
  return data.value;
}

// The app as it is installed here: {name, title, agent, functions}.
export function about() {
  return ask("/api/v1/dapp/show");
}

// Calls handler(signal) for what the app tells its page; returns a function that ends it.
export function on(handler) {
  const events = new EventSource("/api/v1/events");
  events.onmessage = (event) => {
    const { topic, data } = JSON.parse(event.data);
    if (topic === "chain.signal") handler(data.signal);
  };
  return () => events.close();
}
