// The dm3 reference's own libraries, driven by JSON lines: commands on stdin, answers on stdout.
// tests/interop/dm3_peer.py documents every command and starts it.

import { createRequire } from 'node:module'
import { createInterface } from 'node:readline'

const require = createRequire(import.meta.url)
const write = process.stdout.write.bind(process.stdout)
process.stdout.write = process.stderr.write.bind(process.stderr) // the libraries log to stdout
for (const name of ['log', 'info', 'debug']) console[name] = console.error

const { ethers } = require('ethers')
const axios = require('axios')
const { io } = require('socket.io-client')

const LIBRARIES = {}
for (const name of [
  'crypto', 'delivery', 'delivery-api', 'messaging', 'profile', 'server-side', 'shared'
]) LIBRARIES[name] = require(`@dm3-org/dm3-lib-${name}`)
LIBRARIES.utils = ethers.utils

/** What a command names but JSON cannot carry. */
const SPECIAL = {
  $exported: ([library, ...names]) => names.reduce((part, name) => part[name], LIBRARIES[library]),
  $get: () => async (url) => (await axios.get(url)).data,
  $provider: (url) => new ethers.providers.StaticJsonRpcProvider(url, 1),
  $returns: (value) => async () => value,
  $signer: (secret) => (text) => new ethers.Wallet(secret).signMessage(text),
  $undefined: () => undefined
}

function revive (value) {
  if (Array.isArray(value)) return value.map(revive)
  if (value === null || typeof value !== 'object') return value
  const [name] = Object.keys(value)
  if (name in SPECIAL) return SPECIAL[name](value[name])
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, revive(item)]))
}

const sockets = new Map()

const COMMANDS = {
  /** The result of one function of a library. */
  call: async ({ library, function: name, arguments: given }) =>
    ({ result: await LIBRARIES[library][name](...revive(given)) }),

  /** The results of one function for many lists of arguments; null where it threw. */
  calls: async ({ library, function: name, each }) => {
    const results = []
    for (const given of each) {
      try {
        results.push(await LIBRARIES[library][name](...revive(given)))
      } catch {
        results.push(null)
      }
    }
    return { results }
  },

  /** One HTTP request as the reference's clients make it (axios), whatever the status. */
  http: async ({ method, url, body, token }) => {
    const headers = token ? { authorization: `Bearer ${token}` } : {}
    const { status, data } = await axios({
      method, url, data: body, headers, validateStatus: () => true
    })
    return { status, data }
  },

  /** A socket as the reference's messenger opens it; what it emits comes as events. */
  connect: async ({ url, name, token, path }) => {
    const socket = io(url, {
      path, autoConnect: false, transports: ['websocket'], reconnection: false
    })
    socket.auth = { account: { ensName: name }, token }
    socket.onAny((event, data) => say({ event, name, data }))
    sockets.set(name, socket)
    await new Promise((resolve, reject) => {
      socket.once('connect', resolve)
      socket.once('connect_error', reject)
      socket.connect()
    })
    return {}
  },

  /** Emits `event` on the socket of `name`; the answer of the service. */
  emit: async ({ name, event, data }) => ({
    answer: await sockets.get(name).timeout(10_000).emitWithAck(event, data)
  }),

  disconnect: async ({ name }) => { sockets.get(name).disconnect(); return {} }
}

const say = (value) => write(JSON.stringify(value) + '\n')

for await (const line of createInterface({ input: process.stdin })) {
  const { id, command, ...fields } = JSON.parse(line)
  try {
    say({ id, ok: true, ...await COMMANDS[command](fields) })
  } catch (error) {
    say({ id, ok: false, error: String(error?.message ?? error) })
  }
}
process.exit(0)
