// Prints the CID an IPFS library gives to each path: `node unixfs_importer.mjs PATH...`, one
// JSON line {"path", "cid"} per path. The options are those of `ipfs add --cid-version=1
// --raw-leaves` in kubo. `make peers` puts it beside its node_modules.

import { createReadStream } from 'node:fs'
import { lstat, readdir } from 'node:fs/promises'
import { join, basename } from 'node:path'
import { BlackHoleBlockstore } from 'blockstore-core/black-hole'
import { importer } from 'ipfs-unixfs-importer'
import { fixedSize } from 'ipfs-unixfs-importer/chunker'
import { balanced } from 'ipfs-unixfs-importer/layout'

const options = {
  cidVersion: 1,
  rawLeaves: true,
  leafType: 'file',
  reduceSingleLeafToSelf: true,
  chunker: fixedSize({ chunkSize: 262144 }),
  layout: balanced({ maxChildrenPerNode: 174 }),
  shardSplitThresholdBytes: 262144,
  shardSplitStrategy: 'links-bytes',
  shardFanoutBits: 8,
  fieldOrder: 'links-first',
  wrapWithDirectory: false
}

async function * candidates (path, name) {
  const stat = await lstat(path)
  if (stat.isDirectory()) {
    const inside = (await readdir(path)).sort()
    if (inside.length === 0) yield { path: name }
    for (const entry of inside) yield * candidates(join(path, entry), `${name}/${entry}`)
  } else if (stat.isFile()) {
    yield { path: name, content: createReadStream(path) }
  }
}

for (const path of process.argv.slice(2)) {
  let last
  for await (const entry of importer(candidates(path, basename(path)), new BlackHoleBlockstore(), options)) {
    last = entry
  }
  console.log(JSON.stringify({ path, cid: last.cid.toString() }))
}
