// What the network view shows as it changes: bytes of each node, and how many now, every two seconds.

const PAUSE_MS = 2000;

/** Bytes a second that flow now, from two looks at the peers, `seconds` apart. */
export function rates(before, now, seconds) {
  const found = { in: 0, out: 0 };
  for (const peer of now) {
    const old = before.find((one) => one.peer_id === peer.peer_id && one.since_us === peer.since_us);
    found.in += (peer.bytes_in ?? 0) - (old?.bytes_in ?? 0);
    found.out += (peer.bytes_out ?? 0) - (old?.bytes_out ?? 0);
  }
  return { in: found.in / seconds, out: found.out / seconds };
}

export function start({ ask, size }) {
  const ring = document.getElementById("ring");
  let before = null;
  let at = 0;
  const look = async () => {
    if (document.hidden) return;
    const { peers } = await ask("peer list");
    const connected = peers.filter((peer) => peer.connected);
    const now = performance.now();
    if (before) {
      const flow = rates(before, connected, (now - at) / 1000);
      for (const way of ["in", "out"]) {
        for (const place of document.querySelectorAll(`[data-rate="${way}"]`)) place.textContent = `${size(flow[way])}/s`;
      }
    }
    for (const peer of connected) {
      const row = document.querySelector(`[data-peer="${CSS.escape(peer.peer_id)}"]`);
      for (const way of ["in", "out"]) {
        const place = row?.querySelector(`[data-bytes="${way}"]`);
        if (place) place.textContent = size(peer[`bytes_${way}`] ?? 0);
      }
    }
    [before, at] = [connected, now];
  };
  const again = async () => {
    if (!ring.isConnected) return; // another view has taken its place
    try {
      await look();
    } catch {
      before = null; // the page says already that the node does not answer
    }
    setTimeout(again, PAUSE_MS);
  };
  again();
}
