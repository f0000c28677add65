// Names kubo, whose version go.mod locks; `scripts/peers.sh kubo` builds its program from there.
package main

import _ "github.com/ipfs/kubo/cmd/ipfs/kubo"

func main() {}
