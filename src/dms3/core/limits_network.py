"""Bounds of connections: libp2p, frames and peers; `core/limits.py` passes them on.

Names end in their unit and `_MAX` (or `_MIN`).
"""

from dms3.core.limits_search import BLOCK_BYTES_MAX
from dms3.core.units import KIB, MIB, SECOND_US

# frames and links of p2p
FRAME_BODY_BYTES_MAX = (
    BLOCK_BYTES_MAX + 12 * KIB
)  # one block, or a question of that size with its proof
FRAME_LENGTH_BYTES_MAX = 4  # varint of a frame's length: below 2**28
REQUESTS_IN_FLIGHT_MAX = 128  # per stream: the asker waits, the answerer refuses beyond it
REQUESTS_WAITING_MAX = 1_024  # per stream at the asker, until one in flight is answered
REQUEST_BYTES_WAITING_MAX = 4 * MIB  # per stream at the asker
REQUEST_BYTES_HELD_MAX = 8 * MIB  # per stream at the answerer: questions in the hands of machines
ANSWER_BYTES_QUEUED_MAX = 7 * MIB  # per stream, below STREAM_QUEUE_BYTES_MAX: more is refused
CREDIT_GATHER_BYTES_MAX = 64 * KIB  # credit that waits for the rest of a batch: a quarter window
CREDIT_HELD_BYTES_MIN = MIB  # no credit goes back while more than this waits to be sent
LATE_ANSWERS_KEPT_MAX = 1_024  # ids given up whose answer may still come, per stream
STREAMS_INBOUND_MAX = 64  # per link: one per protocol, and those that are ending
CANCELS_BURST_MAX = 512  # cancels accepted at once on one stream...
CANCEL_LEAK_US = 20_000  # ...and one more per this time: 50 each second
MINORS_MAX = 16  # in one version frame
VERSION_BODY_BYTES_MAX = 256  # a network id, 16 minors, and keys of later minors
FAILURE_MESSAGE_CHARS_MAX = 512  # one sentence for people; a longer one is cut by its sender
FAILURE_BODY_BYTES_MAX = 4 * KIB  # a message of the greatest length in four-byte letters, a code
VERSION_WAIT_US = 10 * SECOND_US  # a stream whose first frame is later is reset
STREAM_STALL_US = 30 * SECOND_US  # neither half a frame nor an unread answer may rest longer
LINK_TICK_US = SECOND_US  # how often a busy link looks for what has stalled
ANSWER_WAIT_US = 120 * SECOND_US  # a question still unanswered here is answered `timed_out`
DEADLINE_US_MAX = 600 * SECOND_US  # a Request's deadline is cut to this

# p2p: the peer book
PEERS_KNOWN_MAX = 4_096  # remembered peers: the longest unseen that nobody needs goes first
CONTACTS_MAX = 1_024  # people one knows; each is kept connected
BOOTSTRAP_ADDRESSES_MAX = 64  # each is kept connected
REACHES_CACHED_MAX = 16_384  # addresses whose reach is remembered: finding it takes 18 us
ADDRESSES_PER_PEER_MAX = 8  # LAN, public and a few that were true once
ADDRESS_CHARS_MAX = 256  # a DNS name of the greatest length would need 280; ours have below 100
NAME_CHARS_MAX = 64  # one line of a list
DIALS_AT_ONCE_MAX = 8  # by the peer book: starting with 1,000 contacts must not storm the router
DIAL_TIMEOUT_US = 15 * SECOND_US  # all addresses of one peer, handshake included
DIAL_BACKOFF_US_MIN = SECOND_US  # after the first failure; doubles
DIAL_BACKOFF_US_MAX = 300 * SECOND_US  # a laptop that wakes up is found within five minutes
PROBE_BYTES_MAX = 256  # ours have 20; decoding is dear, and anybody may ask
PROBE_TIMEOUT_US = 10 * SECOND_US  # a round trip over the slowest link we support, and a busy loop
SCORE_REFUSE_MIN = 100  # points of misconduct at which a peer is refused
SCORE_LEAK_US = 6 * SECOND_US  # one point is forgotten per this time: 100 in ten minutes
REFUSE_US = 900 * SECOND_US  # long enough to cost, short enough for an update to help
CALLS_WAITING_MAX = 256  # commands that wait for a dial or a probe
REPORTS_WAITING_MAX = 1_024  # conduct and addresses on their way to the peer book; more is dropped
REFUSED_PEERS_MAX = 4_096  # as many as are remembered
HELD_OFFER_US = 10_000  # how often a message that a machine had no room for is offered again
CONNECTIONS_UNNEEDED_MAX = 256  # beyond it the least useful that nobody asked for is closed
INBOUND_UNNEEDED_MAX = 320  # refused at the door beyond it: 192 places stay for contacts and dials
LAN_PEERS_MAX = 32  # found by mDNS and kept connected: more than any home or office group has
FOUND_ATTEMPTS_MAX = 4  # dials of a found peer in a row before it is left alone for a while
FOUND_DIALS_AT_ONCE_MAX = 4  # half of DIALS_AT_ONCE_MAX: found peers never hold up contacts
FOUND_HINTS_MAX = 4  # addresses where a contact was found, tried after those of its card
FOUND_AVOID_US = 1_800 * SECOND_US  # a found peer that failed, or is not of our network, rests
FOUND_AVOIDED_MAX = 1_024  # such peers remembered; the one that has rested longest goes first
PEERS_WANTED_MIN = 8  # as many as hold one value: a node with fewer dms3 peers asks them for more
WAKE_PAUSE_US = 5 * SECOND_US  # a clock that jumps all the time must not probe everybody each time
WAKE_PROBE_US = 5 * SECOND_US  # a connection that does not answer so long after a sleep is dead
INTERFACES_LOOK_US = 5 * SECOND_US  # how often the addresses of this machine are looked at
INTERFACES_MAX = 8  # addresses of one machine that are spelled out
IDENTIFY_PUSHES_BURST_MAX = 8  # descriptions of one peer taken at once...
IDENTIFY_PUSH_LEAK_US = 5 * SECOND_US  # ...and one more per this time, as interfaces are looked at
CARD_BYTES_MAX = 2_560  # 4,101 characters of text: within one QR code (4,296 alphanumeric)
CERTIFICATE_BYTES_MAX = KIB  # two keys, a name, two dates, a signature

# exchange of peers
EXCHANGE_RECORDS_MAX = 16  # in one answer: two rounds of what a node wants
EXCHANGE_RECORD_BYTES_MAX = KIB  # ADDRESSES_PER_PEER_MAX addresses and a signature need 0.5 KB
EXCHANGE_QUESTION_BYTES_MAX = 64  # a number
EXCHANGE_ANSWER_BYTES_MAX = 24 * KIB  # EXCHANGE_RECORDS_MAX of the longest, HEARSAY_WORDS_MAX
EXCHANGE_TIMEOUT_US = 10 * SECOND_US  # as a probe
EXCHANGE_ASK_US = 120 * SECOND_US  # one peer is asked that often while there are too few
EXCHANGE_ASKED_MAX = 3  # peers asked at once: their answers overlap
EXCHANGE_BURST_MAX = 4  # questions of one peer answered at once...
EXCHANGE_LEAK_US = 30 * SECOND_US  # ...and one more per this time

# discovery on the LAN: mDNS
MDNS_TXT_BYTES_MAX = 4 * KIB  # one answer; IDENTIFY_ADDRESSES_MAX short addresses fit
MDNS_ADDRESSES_MAX = 16  # addresses taken from one answer
MDNS_NAME_CHARS = 32  # random, of our own answer; the specification asks for at least 32
MDNS_ANSWERS_BURST_MAX = 64  # answers looked at, at once: a whole office waking up...
MDNS_ANSWER_LEAK_US = SECOND_US // 2  # ...and two a second after that
MDNS_NAMES_MAX = 1_024  # records of others kept; beyond it all are forgotten and it begins anew
MDNS_RETRY_US = 60 * SECOND_US  # after the sockets could not be opened, or were flooded

# libp2p
MULTIADDR_CHARS_MAX = 1_024  # text of one address: a relayed DNS address needs about 400
MULTIADDR_BYTES_MAX = 512  # the same address in binary form
MULTIADDR_PARTS_MAX = 16  # deeper nesting than any relayed address has
DNS_NAME_CHARS_MAX = 253  # RFC 1035 section 2.3.4
PUBLIC_KEY_BYTES_MAX = 2_048  # the largest accepted identity, RSA-8192 in DER, needs about 1.1 KB
RSA_BITS_MIN = 2_048  # go-libp2p refuses smaller and larger RSA identities with the same bounds
RSA_BITS_MAX = 8_192  # as above
PROTOBUF_FIELDS_MAX = 4_096  # fields of one message; a full list of protocols has hundreds
PROTOCOL_ID_BYTES_MAX = 256  # one protocol name; ours have below 32
MULTISTREAM_MESSAGE_BYTES_MAX = 1_024  # js-libp2p MAX_PROTOCOL_LENGTH
MULTISTREAM_PROPOSALS_MAX = 32  # names a peer may try on one stream before it is reset
NOISE_MESSAGE_BYTES_MAX = 65_535  # Noise specification section 3
NOISE_NONCE_MAX = (1 << 64) - 2  # Noise specification section 5.1: the last value is reserved
NOISE_MUXERS_MAX = 16  # multiplexer names in the handshake payload
HANDSHAKE_US_MAX = 10 * SECOND_US  # from open socket to secured; a slow DSL line needs below 1 s
HANDSHAKE_BYTES_MAX = 256 * KIB  # everything a peer may send before it is secured
YAMUX_WINDOW_BYTES = 256 * KIB  # Yamux specification: the initial window of every stream
YAMUX_WINDOW_BYTES_MAX = 4 * MIB  # a window grows up to here: 320 Mbit/s at 100 ms
YAMUX_GROWTH_BYTES_MAX = 16 * MIB  # growth of all windows of a connection together
YAMUX_FRAME_BYTES = 65_507  # data we put in one frame: with its header it fills one Noise message
YAMUX_INBOUND_STREAMS_MAX = 512  # open streams a peer may hold towards us
YAMUX_BACKLOG_STREAMS_MAX = 256  # Yamux specification: streams not yet acknowledged or negotiated
YAMUX_OUTBOUND_STREAMS_MAX = 1_024  # open streams of ours; a subsystem with more is at fault
YAMUX_REFUSED_STREAMS_MAX = 1_024  # refusals in a row before the connection is closed
YAMUX_CONTROL_BYTES_MAX = 256 * KIB  # unsent small frames: the peer floods and does not read
STREAM_QUEUE_BYTES_MAX = 8 * MIB  # unsent bytes of one stream: a few frames of the largest block
STREAM_QUEUE_NOTICE_BYTES = 64 * KIB  # a queue that was longer reports when it is this short again
CONNECTION_FLUSH_BYTES = 512 * KIB  # one hand-over to the socket: bounds what is encrypted at once
STREAM_NEGOTIATION_US_MAX = 10 * SECOND_US  # a stream without an agreed protocol is then reset
PING_INTERVAL_US = 15 * SECOND_US  # a NAT forgets an idle TCP connection after minutes
PING_ANSWER_US_MAX = 20 * SECOND_US  # then the peer is gone or reads nothing
PING_STREAMS_MAX = 2  # Ping specification: streams accepted from one peer
PING_QUEUE_BYTES_MAX = 4 * KIB  # echoes a peer may leave unread
IDENTIFY_BYTES_MAX = 64 * KIB  # all messages of one Identify stream; go-libp2p sends up to 10
IDENTIFY_MESSAGE_BYTES_MAX = 8 * KIB  # go-libp2p and js-libp2p refuse larger single messages
IDENTIFY_STREAMS_MAX = 4  # Identify and push streams a peer may hold at once
IDENTIFY_ADDRESSES_MAX = 64  # addresses kept of one peer
IDENTIFY_PROTOCOLS_MAX = 512  # protocol names kept of one peer
IDENTIFY_TEXT_CHARS_MAX = 256  # agent and protocol version

# transport
CONNECTIONS_MAX = 512  # secured connections; each costs about 20 KB
CONNECTIONS_PER_ADDRESS_MAX = 64  # inbound from one IP address; loopback is exempt
HANDSHAKES_MAX = 64  # inbound connections that are not yet secured: each costs about 1 ms of CPU
DIALS_MAX = 64  # outbound connections that are not yet secured
DIAL_ADDRESSES_MAX = 16  # addresses of one peer that are tried
DIAL_STAGGER_US = 250_000  # RFC 8305 section 5: the next address starts while the first still tries
BACKOFF_FIRST_US = SECOND_US  # an address that failed is not dialled again before this time
BACKOFF_US_MAX = 300 * SECOND_US  # doubled at each failure up to here
BACKOFF_ADDRESSES_MAX = 4_096  # failed addresses remembered
SOCKET_QUEUE_BYTES = 512 * KIB  # bytes handed to the socket and unsent before we pause
SIMULTANEOUS_DIAL_US_MAX = 10 * SECOND_US  # two connections this close together crossed on the way
CLOSE_US_MAX = 2 * SECOND_US  # time to send what is queued when the transport closes

# identity of a node
ID_WORK_BITS = 10  # leading zeros of id_work: 1,024 keys are drawn per home, at its first start
ID_WORK_TRIES_MAX = 1 << 16  # (1 - 2**-10)**65536 = e**-64: as good as never all in vain
CERTIFICATE_LIFE_US = 30 * 24 * 3600 * SECOND_US  # a lost device stops counting within a month
