// A js-libp2p node driven by JSON lines: commands on stdin, events and answers on stdout.
//
// Started as `node --import ./polyfill.mjs peer.mjs [noise|plaintext] [hop|ADDRESS]`. It listens on a
// loopback port at once and prints {"event":"ready",...}. tests/interop/peer.py documents every
// command. `hop`: it is a circuit relay for others; ADDRESS: it listens there, too, such as
// /ip4/.../p2p/HOP/p2p-circuit, and prints {"event":"reserved","address"} when it has its place.

import { createHash, randomBytes } from 'node:crypto'
import { createInterface } from 'node:readline'
import { circuitRelayServer, circuitRelayTransport } from '@libp2p/circuit-relay-v2'
import { identify } from '@libp2p/identify'
import { noise } from '@libp2p/noise'
import { peerIdFromString } from '@libp2p/peer-id'
import { ping } from '@libp2p/ping'
import { plaintext } from '@libp2p/plaintext'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'

const ECHO = '/dms3-test/echo/1.0.0'
const BULK = '/dms3-test/bulk/1.0.0'
const PIECE = 65536
const PUSH = 1 // the opener sends the bytes and is told how many arrived, with their SHA-256
const PULL = 2 // the opener receives the bytes

const say = (value) => process.stdout.write(JSON.stringify(value) + '\n')

/** Byte i of a bulk transfer is i modulo 251, so a lost or doubled piece changes the digest. */
const pattern = Buffer.alloc(PIECE + 251, Buffer.from(Array.from({ length: 251 }, (_, i) => i)))

async function sendPattern (stream, count) {
  for (let sent = 0; sent < count; sent += PIECE) {
    const size = Math.min(PIECE, count - sent)
    const start = sent % 251
    if (!stream.send(pattern.subarray(start, start + size))) {
      await stream.onDrain()
    }
  }
}

/**
 * The chunks of a stream up to its end. js-libp2p's own async iterator waits for ever when the other
 * half was closed before it was asked, as happens when data and the end come with the negotiation.
 */
async function * chunksOf (stream) {
  const arrived = []
  let ended = stream.readableEnded || (stream.remoteWriteStatus === 'closed' && stream.readBufferLength === 0)
  let failure
  let wake = () => {}
  stream.addEventListener('message', ({ data }) => {
    arrived.push(data instanceof Uint8Array ? data : data.subarray())
    wake()
  })
  stream.addEventListener('end', () => { ended = true; wake() })
  stream.addEventListener('close', ({ error }) => { ended = true; failure = error; wake() })
  while (true) {
    while (arrived.length > 0) yield arrived.shift()
    if (failure != null) throw failure
    if (ended) return
    await new Promise((resolve) => { wake = resolve })
  }
}

async function readAll (stream) {
  const parts = []
  for await (const chunk of chunksOf(stream)) parts.push(Buffer.from(chunk))
  return Buffer.concat(parts)
}

async function digestOf (stream) {
  const hash = createHash('sha256')
  let bytes = 0
  for await (const data of chunksOf(stream)) {
    hash.update(data)
    bytes += data.length
  }
  return { bytes, sha256: hash.digest('hex') }
}

async function answerEcho (stream) {
  for await (const chunk of chunksOf(stream)) {
    if (!stream.send(chunk)) await stream.onDrain()
  }
  await stream.close()
}

/** Nine bytes of header (direction, then the count as a big-endian integer), then the data. */
async function answerBulk (stream) {
  const header = []
  let direction
  let count = 0
  const hash = createHash('sha256')
  let bytes = 0
  for await (const chunk of chunksOf(stream)) {
    let data = chunk
    while (direction === undefined && data.length > 0) {
      header.push(data[0])
      data = data.subarray(1)
      if (header.length === 9) {
        direction = header[0]
        count = Number(Buffer.from(header).readBigUInt64BE(1))
      }
    }
    if (direction === PULL) break
    hash.update(data)
    bytes += data.length
  }
  if (direction === PULL) {
    await sendPattern(stream, count)
  } else {
    stream.send(Buffer.from(JSON.stringify({ bytes, sha256: hash.digest('hex') })))
  }
  await stream.close()
}

function bulkHeader (direction, count) {
  const header = Buffer.alloc(9)
  header[0] = direction
  header.writeBigUInt64BE(BigInt(count), 1)
  return header
}

function describe (identified) {
  return {
    peer: String(identified.peerId),
    agent: identified.agentVersion,
    protocol: identified.protocolVersion,
    protocols: identified.protocols,
    addresses: identified.listenAddrs.map(String),
    observed: String(identified.observedAddr ?? ''),
    sequence: String(identified.signedPeerRecord?.seq ?? '')
  }
}

const security = process.argv[2] ?? 'noise'
const place = process.argv[3]
const isHop = place === 'hop'
const hop = isHop ? { hop: circuitRelayServer() } : {}
const node = await createLibp2p({
  addresses: { listen: ['/ip4/127.0.0.1/tcp/0', ...(place == null || isHop ? [] : [place])] },
  transports: [tcp(), circuitRelayTransport()],
  connectionEncrypters: [security === 'plaintext' ? plaintext() : noise()],
  streamMuxers: [yamux()],
  services: { identify: identify(), ping: ping(), ...hop },
  nodeInfo: { name: 'js-libp2p', version: '3', userAgent: 'dms3-test/js-libp2p' }
})
const handler = (answer) => (stream) => {
  answer(stream).catch((error) => {
    say({ event: 'stream_failed', protocol: stream.protocol, error: String(error) })
    stream.abort(error)
  })
}
const anywhere = { runOnLimitedConnection: true } // also over a circuit
await node.handle(ECHO, handler(answerEcho), anywhere)
await node.handle(BULK, handler(answerBulk), anywhere)
node.addEventListener('self:peer:update', () => {
  for (const address of node.getMultiaddrs().map(String)) {
    if (address.includes('/p2p-circuit')) say({ event: 'reserved', address })
  }
})
node.addEventListener('peer:connect', (event) => say({ event: 'connected', peer: String(event.detail) }))
node.addEventListener('peer:disconnect', (event) => say({ event: 'disconnected', peer: String(event.detail) }))
node.addEventListener('peer:identify', ({ detail }) => {
  say({ event: 'identified', ...describe(detail) })
})

/** On the connection there is: dialProtocol would dial anew where that one is a circuit. */
const open = (peer, protocol) => {
  const [connection] = node.getConnections(peerIdFromString(peer))
  if (connection == null) throw new Error(`not connected to ${peer}`)
  return connection.newStream(protocol, anywhere)
}

const commands = {
  async dial ({ address }) {
    const connection = await node.dial(multiaddr(address), { signal: AbortSignal.timeout(20000) })
    return { peer: String(connection.remotePeer), muxer: connection.multiplexer, encryption: connection.encryption }
  },
  async identify ({ peer }) {
    const [connection] = node.getConnections(peerIdFromString(peer))
    return describe(await node.services.identify.identify(connection))
  },
  async ping ({ peer }) {
    return { milliseconds: await node.services.ping.ping(peerIdFromString(peer)) }
  },
  async echo ({ peer, bytes }) {
    const stream = await open(peer, ECHO)
    const sent = randomBytes(bytes)
    stream.send(sent)
    await stream.close()
    const back = await readAll(stream)
    return { same: back.equals(sent), bytes: back.length }
  },
  async echoes ({ peer, bytes, count }) {
    const started = performance.now()
    for (let done = 0; done < count; done++) {
      if (!(await commands.echo({ peer, bytes })).same) throw new Error('an echo came back changed')
    }
    return { seconds: (performance.now() - started) / 1000 }
  },
  async push ({ peer, bytes }) {
    const stream = await open(peer, BULK)
    stream.send(bulkHeader(PUSH, bytes))
    await sendPattern(stream, bytes)
    await stream.close()
    return JSON.parse(String(await readAll(stream)))
  },
  async pull ({ peer, bytes }) {
    const stream = await open(peer, BULK)
    stream.send(bulkHeader(PULL, bytes))
    await stream.close()
    return await digestOf(stream)
  },
  async hangup ({ peer }) {
    await node.hangUp(peerIdFromString(peer))
    return {}
  },
  async stop () {
    await node.stop()
    return {}
  }
}

say({
  event: 'ready',
  peer: String(node.peerId),
  addresses: node.getMultiaddrs().map(String),
  security
})

const lines = createInterface({ input: process.stdin })
lines.on('line', async (line) => {
  const { id, command, ...fields } = JSON.parse(line)
  try {
    say({ id, ok: true, ...(await commands[command](fields)) })
  } catch (error) {
    say({ id, ok: false, error: `${error?.name}: ${error?.message}` })
  }
  if (command === 'stop') process.exit(0)
})
lines.on('close', () => process.exit(0))
