// js-libp2p for benchmarks/streams.py: `bench.mjs serve`, or `bench.mjs ask ADDRESS` with one JSON
// command per line on stdin. benchmarks/wire.py says what each command measures.

import { createInterface } from 'node:readline'
import { noise } from '@libp2p/noise'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'

const ECHO = '/bench/echo/1'
const SINK = '/bench/sink/1'
const BODY = Buffer.alloc(1024, 'x')
const MANY = { maxInboundStreams: 4096, maxOutboundStreams: 4096 }

const say = (value) => process.stdout.write(JSON.stringify(value) + '\n')

const makeNode = (listen) => createLibp2p({
  addresses: { listen },
  transports: [tcp()],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux()],
  connectionManager: { inboundConnectionThreshold: 10_000 } // else five dials a second are taken
})

async function send (stream, data) {
  if (!stream.send(data)) await stream.onDrain()
}

/** Resolves when `count` bytes have arrived. */
const arrived = (stream, count) => new Promise((resolve, reject) => {
  let left = count
  stream.addEventListener('message', ({ data }) => {
    left -= data.byteLength
    if (left === 0) resolve()
  })
  stream.addEventListener('close', () => {
    if (left > 0) reject(new Error(`closed, ${left} bytes missing`))
  })
})

async function serve () {
  const node = await makeNode(['/ip4/127.0.0.1/tcp/0'])
  await node.handle(ECHO, (stream) => {
    let total = 0
    stream.addEventListener('message', ({ data }) => {
      total += data.byteLength
      if (total % BODY.length === 0) stream.send(BODY)
    })
    stream.addEventListener('remoteCloseWrite', () => { stream.close().catch(() => {}) })
  }, MANY)
  await node.handle(SINK, (stream) => {
    let total = 0
    stream.addEventListener('message', ({ data }) => { total += data.byteLength })
    stream.addEventListener('remoteCloseWrite', () => {
      const count = Buffer.alloc(8)
      count.writeBigUInt64BE(BigInt(total))
      stream.send(count)
      stream.close().catch(() => {})
    })
  }, MANY)
  say({ address: String(node.getMultiaddrs()[0]) })
  process.stdin.resume()
  process.stdin.on('end', () => process.exit(0))
}

async function echoes (connection, count) {
  for (let done = 0; done < count; done++) {
    const stream = await connection.newStream(ECHO, MANY)
    const answer = arrived(stream, BODY.length)
    await send(stream, BODY)
    await answer
    stream.close().catch(() => {})
  }
}

async function bulk (connection, bytes, piece) {
  const stream = await connection.newStream(SINK, MANY)
  const counted = arrived(stream, 8)
  const data = Buffer.alloc(piece)
  for (let sent = 0; sent < bytes; sent += piece) await send(stream, data)
  stream.close().catch(() => {})
  await counted
}

async function dials (address, count) {
  const seconds = []
  for (let done = 0; done < count; done++) {
    const node = await makeNode([])
    const begun = performance.now()
    await node.dial(multiaddr(address))
    seconds.push((performance.now() - begun) / 1000)
    await node.stop()
  }
  return seconds
}

async function ask (address) {
  const node = await makeNode([])
  const connection = await node.dial(multiaddr(address))
  for await (const line of createInterface({ input: process.stdin })) {
    const { what, count, flight, bytes, piece } = JSON.parse(line)
    if (what === 'dial') {
      say({ seconds: await dials(address, count) })
      continue
    }
    const begun = performance.now()
    if (what === 'echo') {
      await Promise.all(Array.from({ length: flight }, () => echoes(connection, count / flight)))
    } else {
      await bulk(connection, bytes, piece)
    }
    say({ seconds: (performance.now() - begun) / 1000 })
  }
  process.exit(0)
}

await (process.argv[2] === 'serve' ? serve() : ask(process.argv[3]))
