// A go-libp2p node driven by JSON lines: commands on stdin, events and answers on stdout.
//
// TCP, Noise and Yamux only; `peer plaintext` offers plaintext only, `peer noise hop` is a circuit
// relay for others. tests/interop/peer.py
// documents every command.
package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/protocol/identify"
	"github.com/libp2p/go-libp2p/p2p/protocol/ping"
	"github.com/libp2p/go-libp2p/p2p/security/insecure"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
)

const (
	echoProtocol = protocol.ID("/dms3-test/echo/1.0.0")
	bulkProtocol = protocol.ID("/dms3-test/bulk/1.0.0")
	piece        = 65536
	push         = 1 // the opener sends the bytes and is told how many arrived, with their SHA-256
	pull         = 2 // the opener receives the bytes
)

var (
	pattern = makePattern() // byte i of a bulk transfer is i modulo 251
	output  sync.Mutex
)

func makePattern() []byte {
	bytes := make([]byte, piece+251)
	for i := range bytes {
		bytes[i] = byte(i % 251)
	}
	return bytes
}

type fields = map[string]any

func say(values fields) {
	line, err := json.Marshal(values)
	if err != nil {
		panic(err)
	}
	output.Lock()
	defer output.Unlock()
	os.Stdout.Write(append(line, '\n'))
}

func sendPattern(stream io.Writer, count int) error {
	for sent := 0; sent < count; sent += piece {
		start := sent % 251
		if _, err := stream.Write(pattern[start : start+min(piece, count-sent)]); err != nil {
			return err
		}
	}
	return nil
}

func digestOf(stream io.Reader) (fields, error) {
	hash := sha256.New()
	count, err := io.Copy(hash, stream)
	return fields{"bytes": count, "sha256": hex.EncodeToString(hash.Sum(nil))}, err
}

func answerEcho(stream network.Stream) {
	if _, err := io.Copy(stream, stream); err != nil {
		stream.Reset()
		return
	}
	stream.Close()
}

func answerBulk(stream network.Stream) {
	if err := answerBulkOrFail(stream); err != nil {
		say(fields{"event": "stream_failed", "protocol": bulkProtocol, "error": err.Error()})
		stream.Reset()
		return
	}
	stream.Close()
}

func answerBulkOrFail(stream network.Stream) error {
	header := make([]byte, 9)
	if _, err := io.ReadFull(stream, header); err != nil {
		return err
	}
	if header[0] == pull {
		return sendPattern(stream, int(binary.BigEndian.Uint64(header[1:])))
	}
	found, err := digestOf(stream)
	if err != nil {
		return err
	}
	return json.NewEncoder(stream).Encode(found)
}

type arguments struct {
	ID      int
	Command string
	Address string
	Peer    string
	Bytes   int
	Count   int
}

type node struct {
	host.Host
	identify  identify.IDService
	sequences *sync.Map // peer -> that of its last verified record, as text
}

// Notes the sequence number of every record that identify has verified.
func (n node) watch() {
	identified, err := n.EventBus().Subscribe(new(event.EvtPeerIdentificationCompleted))
	if err != nil {
		panic(err)
	}
	for found := range identified.Out() {
		completed := found.(event.EvtPeerIdentificationCompleted)
		if completed.SignedPeerRecord == nil {
			continue
		}
		if record, err := completed.SignedPeerRecord.Record(); err == nil {
			n.sequences.Store(completed.Peer, fmt.Sprint(record.(*peer.PeerRecord).Seq))
		}
	}
}

func (n node) open(ctx context.Context, to string, id protocol.ID) (network.Stream, error) {
	target, err := peer.Decode(to)
	if err != nil {
		return nil, err
	}
	return n.NewStream(ctx, target, id)
}

func (n node) run(ctx context.Context, a arguments) (fields, error) {
	switch a.Command {
	case "dial":
		info, err := peer.AddrInfoFromString(a.Address)
		if err != nil {
			return nil, err
		}
		return fields{"peer": info.ID.String()}, n.Connect(ctx, *info)
	case "identify":
		return n.identified(a)
	case "ping":
		target, err := peer.Decode(a.Peer)
		if err != nil {
			return nil, err
		}
		result := <-ping.Ping(ctx, n.Host, target)
		return fields{"milliseconds": result.RTT.Seconds() * 1000}, result.Error
	case "echo":
		return n.echo(ctx, a)
	case "echoes":
		started := time.Now()
		for range a.Count {
			if _, err := n.echo(ctx, a); err != nil {
				return nil, err
			}
		}
		return fields{"seconds": time.Since(started).Seconds()}, nil
	case "push", "pull":
		return n.bulk(ctx, a)
	case "hangup":
		target, err := peer.Decode(a.Peer)
		if err != nil {
			return nil, err
		}
		return nil, n.Network().ClosePeer(target)
	case "stop":
		return nil, n.Close()
	}
	return nil, fmt.Errorf("unknown command %q", a.Command)
}

func (n node) identified(a arguments) (fields, error) {
	target, err := peer.Decode(a.Peer)
	if err != nil {
		return nil, err
	}
	for _, connection := range n.Network().ConnsToPeer(target) {
		<-n.identify.IdentifyWait(connection)
	}
	agent, err := n.Peerstore().Get(target, "AgentVersion")
	if err != nil {
		return nil, err
	}
	version, err := n.Peerstore().Get(target, "ProtocolVersion")
	if err != nil {
		return nil, err
	}
	protocols, err := n.Peerstore().GetProtocols(target)
	if err != nil {
		return nil, err
	}
	addresses := []string{}
	for _, address := range n.Peerstore().Addrs(target) {
		addresses = append(addresses, address.String())
	}
	sequence, _ := n.sequences.Load(target)
	if sequence == nil {
		sequence = ""
	}
	return fields{
		"agent": agent, "protocol": version, "protocols": protocols, "addresses": addresses,
		"sequence": sequence,
	}, nil
}

func (n node) echo(ctx context.Context, a arguments) (fields, error) {
	stream, err := n.open(ctx, a.Peer, echoProtocol)
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	sent := make([]byte, a.Bytes)
	if _, err := rand.Read(sent); err != nil {
		return nil, err
	}
	if _, err := stream.Write(sent); err != nil {
		return nil, err
	}
	if err := stream.CloseWrite(); err != nil {
		return nil, err
	}
	back, err := io.ReadAll(stream)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(back, sent) {
		return nil, errors.New("an echo came back changed")
	}
	return fields{"same": true, "bytes": len(back)}, nil
}

func (n node) bulk(ctx context.Context, a arguments) (fields, error) {
	stream, err := n.open(ctx, a.Peer, bulkProtocol)
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	direction := byte(push)
	if a.Command == "pull" {
		direction = pull
	}
	header := binary.BigEndian.AppendUint64([]byte{direction}, uint64(a.Bytes))
	if _, err := stream.Write(header); err != nil {
		return nil, err
	}
	if direction == push {
		if err := sendPattern(stream, a.Bytes); err != nil {
			return nil, err
		}
	}
	if err := stream.CloseWrite(); err != nil {
		return nil, err
	}
	if direction == pull {
		return digestOf(stream)
	}
	found := fields{}
	return found, json.NewDecoder(stream).Decode(&found)
}

func answer(ctx context.Context, n node, line []byte) {
	a := arguments{}
	err := json.Unmarshal(line, &a)
	found := fields{}
	if err == nil {
		var more fields
		more, err = n.run(ctx, a)
		for name, value := range more {
			found[name] = value
		}
	}
	found["id"], found["ok"] = a.ID, err == nil
	if err != nil {
		found["error"] = err.Error()
	}
	say(found)
	if a.Command == "stop" {
		os.Exit(0)
	}
}

func main() {
	security := libp2p.Security(noise.ID, noise.New)
	if len(os.Args) > 1 && os.Args[1] == "plaintext" {
		security = libp2p.Security(insecure.ID, insecure.NewWithIdentity)
	}
	relay := libp2p.EnableRelay() // dials through a circuit relay, and is none
	if len(os.Args) > 2 && os.Args[2] == "hop" {
		relay = libp2p.ChainOptions(libp2p.EnableRelayService(), libp2p.ForceReachabilityPublic())
	}
	started, err := libp2p.New(
		libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"),
		libp2p.Transport(tcp.NewTCPTransport),
		libp2p.Muxer(yamux.ID, yamux.DefaultTransport),
		libp2p.UserAgent("dms3-test/go-libp2p"),
		relay,
		security,
	)
	if err != nil {
		panic(err)
	}
	service, ok := started.(interface{ IDService() identify.IDService })
	if !ok {
		panic("this version of go-libp2p does not show its identify service")
	}
	n := node{started, service.IDService(), &sync.Map{}}
	go n.watch()
	n.SetStreamHandler(echoProtocol, answerEcho)
	n.SetStreamHandler(bulkProtocol, answerBulk)
	addresses := []string{}
	for _, address := range n.Addrs() {
		addresses = append(addresses, address.String()+"/p2p/"+n.ID().String())
	}
	say(fields{"event": "ready", "peer": n.ID().String(), "addresses": addresses})
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		go answer(context.Background(), n, bytes.Clone(lines.Bytes()))
	}
}
