// An IPFS client: Helia's block broker for trustless gateways, the UnixFS exporter and importer, and
// the CAR library. Usage: node client.mjs COMMAND ARGUMENT...; one JSON object on standard output.
//
//   fetch GATEWAY CID FOLDER   read CID block by block through the gateway into FOLDER, verified
//   archive GATEWAY QUERY      read a CAR of the gateway, verified: {roots, blocks, bytes}
//   unpack FILE FOLDER         read a CAR file, verified, and write what its first root holds
//   pack PATH FILE             make a CAR file of a file or folder: {root, blocks}
import { createReadStream, createWriteStream } from 'node:fs'
import { mkdir, readdir, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { Readable } from 'node:stream'
import { trustlessGateway } from '@helia/block-brokers'
import { CarBlockIterator, CarWriter } from '@ipld/car'
import { multiaddr } from '@multiformats/multiaddr'
import { MemoryBlockstore } from 'blockstore-core'
import { exporter } from 'ipfs-unixfs-exporter'
import { importer } from 'ipfs-unixfs-importer'
import { sha256 } from 'multiformats/hashes/sha2'

async function check (cid, bytes) {
  const digest = await sha256.digest(bytes)
  if (Buffer.compare(digest.bytes, cid.multihash.bytes) !== 0) {
    throw new Error(`the block of ${cid} has another hash`)
  }
}

// Blocks from a gateway, each checked before it is believed.
function remote (gateway) {
  const url = new URL(gateway)
  const log = Object.assign(() => {}, { error () {}, trace () {}, newScope: () => log })
  const routing = {
    async * findProviders () {
      const at = multiaddr(`/ip4/${url.hostname}/tcp/${url.port}/http`)
      yield { id: undefined, multiaddrs: [at], routing: 'test' }
    }
  }
  const components = { logger: { forComponent: () => log }, routing }
  const broker = trustlessGateway({ allowInsecure: true, allowLocal: true })(components)
  let blocks = 0
  return {
    get blocks () { return blocks },
    async * get (cid) {
      blocks += 1
      yield await broker.retrieve(cid, { validateFn: (bytes) => check(cid, bytes) })
    }
  }
}

async function write (cid, blocks, path) {
  const entry = await exporter(cid.toString(), blocks)
  if (entry.type === 'directory') {
    await mkdir(path, { recursive: true })
    for await (const inside of entry.entries()) {
      await write(inside.cid, blocks, join(path, inside.name))
    }
    return
  }
  await pipeline(Readable.from(entry.content()), createWriteStream(path))
}

async function store (blocks) {
  const kept = new MemoryBlockstore()
  const cids = []
  let bytes = 0
  for await (const { cid, bytes: block } of blocks) {
    await check(cid, block)
    await kept.put(cid, block)
    cids.push(cid.toString())
    bytes += block.length
  }
  const roots = (await blocks.getRoots()).map(String)
  return { kept, roots, cids, bytes }
}

async function * sources (path, name) {
  if (!(await stat(path)).isDirectory()) {
    yield { path: name, content: createReadStream(path) }
    return
  }
  for (const inside of (await readdir(path)).sort()) {
    yield * sources(join(path, inside), `${name}/${inside}`)
  }
}

const commands = {
  async fetch (gateway, cid, folder) {
    const blocks = remote(gateway)
    await write(cid, blocks, folder)
    return { blocks: blocks.blocks }
  },
  async archive (gateway, query) {
    const answer = await fetch(`${gateway}/ipfs/${query}`)
    if (!answer.ok) throw new Error(`status ${answer.status}`)
    const found = await store(await CarBlockIterator.fromIterable(answer.body))
    const { roots, cids, bytes } = found
    return { roots, blocks: cids, bytes, type: answer.headers.get('content-type') }
  },
  async unpack (file, folder) {
    const found = await store(await CarBlockIterator.fromIterable(createReadStream(file)))
    await write(found.roots[0], found.kept, folder)
    return { roots: found.roots, blocks: found.cids }
  },
  async pack (path, file) {
    const blocks = new Map()
    const kept = new MemoryBlockstore()
    const noting = {
      get: (cid) => kept.get(cid),
      async put (cid, block) {
        blocks.set(cid.toString(), [cid, block])
        return kept.put(cid, block)
      }
    }
    let root
    const options = { cidVersion: 1, rawLeaves: true, wrapWithDirectory: false }
    for await (const entry of importer(sources(path, 'top'), noting, options)) root = entry.cid
    const { writer, out } = CarWriter.create([root])
    const done = writeFile(file, out)
    for (const [cid, bytes] of blocks.values()) await writer.put({ cid, bytes })
    await writer.close()
    await done
    return { root: root.toString(), blocks: [...blocks.keys()] }
  }
}

const [command, ...given] = process.argv.slice(2)
console.log(JSON.stringify(await commands[command](...given)))
