"""Every bound of the program, with its unit, source and reason; nothing queues or loops without.

Names end in their unit and `_MAX` (or `_MIN`). A subsystem takes its bounds from here.
"""

from dms3.core.limits_chain import *  # noqa: F403 - one place to take bounds from
from dms3.core.limits_messaging import *  # noqa: F403 - one place to take bounds from
from dms3.core.limits_overlay import *  # noqa: F403 - one place to take bounds from
from dms3.core.units import KIB as KIB  # noqa: PLC0414 - taken from here, too
from dms3.core.units import MIB as MIB  # noqa: PLC0414 - taken from here, too
from dms3.core.units import SECOND_US as SECOND_US  # noqa: PLC0414 - taken from here, too

# core
PERSIST_VALUE_BYTES_MAX = 64 * KIB  # a larger value goes to a pack, as a block
EVENTS_KEPT_MAX = 10_000  # history a reader of the event stream can catch up on
CLOCK_JUMP_US_MAX = 2 * SECOND_US  # a larger wall jump arrives as an event

# driver
INBOX_EVENTS_MAX = 4_096  # per machine; each event is at most a frame, so memory is bounded by both
COMMIT_EVENTS_MAX = 512  # events in one group commit: bounds the time the next group waits
COMMIT_WRITES_MAX = 8_192  # writes in one group commit: some 16 for each of its events
GARBAGE_LOOK_OBJECTS = 10_000  # made between two looks for circles among the newest: about 2 MB
VIEW_ROWS_KNOWN_MAX = 2_048  # committed rows that one machine's view remembers...
VIEW_ROW_BYTES_KNOWN_MAX = 2_048  # ...each of so many bytes at most: 4 MiB
STEP_EVENTS_MAX = (
    64  # events between two looks at the sockets, so that one peer cannot hold the loop
)

# content
BLOCK_BYTES_MAX = 2 * MIB  # bitswap specification: larger blocks are not exchanged
CHUNK_BYTES = 262_144  # kubo default chunker, size-262144
LINKS_PER_NODE_MAX = 174  # kubo default balanced layout
DIRECTORY_BYTES_MAX = 256 * KIB  # kubo: a directory whose links need more becomes a HAMT
HAMT_FANOUT = 256  # kubo default shard width
DAG_DEPTH_MAX = 64  # deeper trees than any file or folder we accept: 174**64 chunks

# packs
PACK_BYTES_MAX = 256 * MIB  # one pack file; then a new one is begun
PACK_COMPACT_DEAD_FRACTION = 0.5  # a pack with more dead bytes is rewritten

# dev and demo
DEMO_FIRST_FILES_MIN = 500  # the tour imports real amounts
DEMO_NODES_MIN = 3  # an owner, a reader, and one who is neither
DEMO_WALK_FILES_MAX = 20_000  # files looked at when a folder is split for the tour
DEV_NODES_MAX = 64  # processes on one machine: about 100 MB of memory each
DEV_START_SECONDS_MAX = 120  # a slow machine starting many at once
DEV_STOP_SECONDS_MAX = 10  # a node stops within 3 s; then it is killed

# identity and grants
GRANT_BYTES_MAX = 1_024  # three keys, up to eight rights, two dates, a signature
DEVICE_NAME_CHARS_MAX = 64  # shown to people
RIGHTS_MAX = 8  # "read" and "search" today
CLOCK_AHEAD_US_MAX = 120 * SECOND_US  # clocks of two machines may differ by this; then: parked
PASSPHRASE_BYTES_MAX = 1_024  # what Argon2id is given
PASSPHRASE_CHARS_MIN = 8  # shorter ones fall to a list of common words
KEY_FILE_BYTES_MAX = 4 * KIB  # the file has about 200; a larger one is something else
ARGON2_MEMORY_KIB = 64 * KIB  # RFC 9106, second recommended option: 64 MiB, 3 passes, 4 lanes
ARGON2_PASSES = 3  # RFC 9106, second recommended option
ARGON2_LANES = 4  # RFC 9106, second recommended option
ARGON2_MEMORY_KIB_MAX = 1 << 20  # a key file that asks for more than 1 GiB is refused
ARGON2_PASSES_MAX = 64  # a damaged file must not keep the start busy for minutes
ARGON2_LANES_MAX = 64  # more threads than any machine we run on has for this

# store
DISK_RESERVE_BYTES_MIN = 64 * MIB  # below this much free space no new work is accepted
STORE_WORKS_MAX = 1_024  # works waiting for the writer; beyond it callers are told to come later
STORE_COMMITS_MAX = 16  # the driver's commits, never refused, have their own seats
STORE_GROUP_WORKS_MAX = 256  # works that share one transaction: bounds how long the first one waits
STORE_READERS_MAX = 4  # snapshot connections; each costs a page cache of up to 4 MB
STORE_READER_WAIT_SECONDS_MAX = 30  # then the reader is told that the node is busy
STORE_TRUNCATE_MS_MAX = 50  # the log is emptied later when a reader is in it for longer
STORE_BUSY_MS_MAX = 5_000  # SQLite waits this long for another process's lock (a tool's checkpoint)
STORE_CHECK_BYTES_MAX = 32 * MIB  # a file up to here is checked whole at each start, in 0.2 s
STORE_WAL_BYTES_MAX = 64 * MIB  # the log file is cut back to this size after a checkpoint
PACK_RECORD_BYTES_MIN = PERSIST_VALUE_BYTES_MAX  # a smaller block is a row of the database
PACKS_OPEN_MAX = 32  # open pack files for reading: 8 GiB of packs without reopening
STAGE_BLOCKS_MAX = 256  # blocks looked up together while they are staged
STAGE_BYTES_MAX = 4 * MIB  # and their bytes held in memory meanwhile
SWEEP_ROWS_MAX = 5_000  # block rows looked at per transaction of a sweep
SWEEP_BYTES_MAX = 16 * MIB  # removed per transaction: its log must fit into the disk reserve
SHRINK_PAGES_MAX = 1_024  # database pages given back per transaction: 4 MiB

# upkeep
UPKEEP_SECONDS_MAX = 900  # between two looks at what is dead; removing something asks for one
UPKEEP_REST_FACTOR_MIN = 1  # a step of upkeep is followed by a rest as long as itself...
UPKEEP_BUSY_FACTOR_MIN = 9  # ...and nine times as long while something is imported
BACKUP_OLD_US_MAX = 30 * 24 * 3600 * SECOND_US  # an older last backup is worth a warning
BACKUP_GENERATIONS_KEPT_MAX = 3  # a mistake is noticed two backups later; each costs its changes
BACKUP_MANIFEST_BYTES_MAX = 64 * MIB  # 32 bytes for each part: 8 TB of packs
BACKUP_PART_BYTES = 4 * MIB  # of a pack: one file of a backup
BACKUP_ROWS_BYTES_MIN = 16 * KIB  # of database rows in one file of a backup, unless it is the last
BACKUP_ROWS_BYTES_MEAN = 128 * KIB  # rows that change cost about this much in the next backup
BACKUP_ROWS_BYTES_MAX = MIB  # so that memory is bounded; one row may be larger
BACKUP_OBJECT_BYTES_MAX = 64 * MIB  # read at once: a part of a pack, or one row of kept text
RESTORE_WRITES_MAX = 16  # pieces of rows on their way to the writer: 16 MiB of memory

# sealing
SEAL_CHUNK_BYTES = 64 * KIB  # a read from the middle opens one such piece

# spool
UPLOAD_BYTES_MAX = 64 * 1024 * MIB  # one upload; the disk reserve usually says no earlier
UPLOADS_MAX = 256  # unfinished and unread uploads together

# pool
POOL_WORKERS_MAX = 8
POOL_JOBS_MAX = 256  # jobs waiting or running; beyond it callers are told to come later
POOL_JOB_SECONDS_MAX = 120  # then the worker is killed: the document is at fault
POOL_MESSAGE_BYTES_MAX = 256 * MIB  # one pickled call or result
POOL_START_SECONDS_MAX = 60  # a worker that has not said hello by then will not
POOL_MEMORY_BYTES_MAX = 2 * 1024 * MIB  # address space of one worker: a memory bomb ends there

# driver, the questions it keeps
ASKS_OPEN_MAX = 4_096  # unanswered Calls and Requests of one machine; the next one is refused
QUESTIONS_OPEN_MAX = 4_096  # unanswered questions to one machine; the next one is refused
EVENT_EFFECTS_MAX = 65_536  # effects of one event: a machine that wants more works in steps

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

# loop
PORT_CALLS_MAX = 64  # calls of one io port at once; others wait their turn
SUBSCRIBERS_MAX = 256  # readers of the event stream at once
SUBSCRIBER_EVENTS_MAX = 1_024  # events a slow reader may lag behind before it is told of a gap
LAG_PERIOD_US = SECOND_US // 10  # how often the lateness of the event loop is measured
THREAD_TURN_US_MAX = 1_000  # a thread that computes lets the loop go on; Python's 5 ms add up

# simulation
SIM_SWEEP_EVENTS = 10_000  # checkers look at all nodes that often
SIM_TURNS_MAX = 10_000  # steps of one node at one instant: more is a loop without progress
SIM_SILENCE_US = 3 * SECOND_US  # silence after which a connection counts as broken
SIM_HOLD_US = SECOND_US // 1_000  # after that a message that was not taken is offered again
SIM_STALL_US = SECOND_US // 20  # how often bytes held up by a partition are tried again
SIM_MESH_NODES_MAX = 200  # while all connect to all
SIM_NODES_MAX = {"messages": 10_000, "bytes": 50}  # per fidelity, when nodes connect on demand
SIM_COLD_NODES_MAX = 200  # that join one by one; more begin with full routing tables
SIM_PRESENCES_KEPT_MAX = 100_000  # checked once for all simulated nodes together
SIM_ADDRESSES_CACHED_MAX = 16_384  # more than there are simulated nodes
SIM_QUIET_US_MAX = 120 * SECOND_US  # after healing, all work must be done within that time

# identity of a node
ID_WORK_BITS = 10  # leading zeros of id_work: 1,024 keys are drawn per home, at its first start
ID_WORK_TRIES_MAX = 1 << 16  # (1 - 2**-10)**65536 = e**-64: as good as never all in vain
CERTIFICATE_LIFE_US = 30 * 24 * 3600 * SECOND_US  # a lost device stops counting within a month

# files and folders
NODE_LINKS_MAX = 65_536  # links of one foreign dag-pb node: a block of 2 MiB holds about 45,000
HAMT_LEVELS_MAX = 8  # 64 bits of hash, eight per level
DIRECTORY_ENTRIES_MAX = 1_000_000  # names listed of one folder
NAME_BYTES_MAX = 255  # one name in a folder: the bound of common file systems
PATH_PARTS_MAX = 64  # names in a path below a CID, and folders inside folders of an import

# grants of sharing
GRANTS_GIVEN_MAX = 10_000  # in memory at about 1 KB each
GRANTS_RECEIVED_MAX = 4_096  # in memory at about 1 KB each
GRANTS_PER_ISSUER_MAX = 256  # so that one contact cannot fill the table
WITHDRAWN_KEPT_MAX = 4_096  # serials remembered so that a late offer does not bring a grant back
READER_PEERS_MAX = 8  # devices of one person a grant is delivered to
OUTBOX_MAX = 16_384  # deliveries not yet answered
DELIVERIES_AT_ONCE_MAX = 16  # per peer
DELIVERY_TIMEOUT_US = (
    20 * SECOND_US
)  # a reader answers in milliseconds; slow links and busy nodes included
DELIVERY_BACKOFF_US_MIN = SECOND_US  # first pause; doubled each time
DELIVERY_BACKOFF_US_MAX = (
    600 * SECOND_US
)  # a contact added later gets its grants within ten minutes
OFFERS_OPEN_MAX = 256  # offers waiting for the answer whether their issuer is a contact
GRANT_MESSAGE_BYTES_MAX = 4 * KIB  # a grant, a certificate and a name
SPACE_NAME_CHARS_MAX = 128  # shown in one line to people

# sharing: search and blocks for peers
PROOFS_KEPT_MAX = 4_096  # checked proofs remembered: two signatures, 0.13 ms, saved per question
SERVED_OPEN_MAX = 2_048  # questions of all peers waiting for the library
SERVED_PER_PEER_MAX = 128  # of one peer; REQUESTS_IN_FLIGHT_MAX of its stream
SEARCH_COST_US = SECOND_US // 20  # one peer: 20 searches each second...
SEARCH_BURST_US = 2 * SECOND_US  # ...after a burst of 40
BLOCK_COST_US = SECOND_US // 4_000  # one peer: 4,000 blocks each second: 1 GB/s of full chunks
BLOCK_BURST_US = SECOND_US  # a second of blocks may come at once
GRANT_COST_US = SECOND_US // 10  # one peer: 10 offers or withdrawals each second
GRANT_BURST_US = 30 * SECOND_US  # after a burst of 300: all a contact may hold, and its repeats
SEARCHES_OPEN_MAX = 64  # searches of our own under way
SEARCH_ASKED_MAX = 256  # spaces asked by one search
SEARCH_HITS_MAX = 200  # in one answer
SEARCH_TIMEOUT_US = 5 * SECOND_US  # default; late peers are named, not awaited
SEARCH_TIMEOUT_US_MAX = 60 * SECOND_US  # nobody looks at a search for longer
SEARCH_QUESTION_BYTES_MAX = 16 * KIB  # a query, conditions and a proof
SEARCH_ITEMS_MAX = 8 * KIB  # dag-cbor items of one message: SEARCH_HITS_MAX hits have 2,600
SEARCH_ANSWER_BYTES_MAX = 2 * MIB  # SEARCH_HITS_MAX hits of the longest texts need 1.2 MB
BLOCK_QUESTION_BYTES_MAX = 4 * KIB  # a CID and a proof
REMOTE_QUERY_CHARS_MAX = 1_024  # longer than any question a person types
REMOTE_CONDITIONS_MAX = 16  # more than the typed fields of any kind
REMOTE_CONDITION_CHARS_MAX = 256  # a field name and two ends of a range
HIT_TITLE_CHARS_MAX = 300  # one long line
HIT_SNIPPET_CHARS_MAX = 1_000  # a paragraph
KIND_CHARS_MAX = 64  # a name and a version

# fetch
FETCHES_MAX = 64  # jobs at once
FETCH_ASKED_BYTES_MAX = 6 * MIB  # asked for, per job: all answers fit a supplier's queue
FETCH_WINDOW_BYTES_MAX = 8 * MIB  # asked for or not yet kept, per job
FETCH_WINDOW_BLOCKS_MAX = 32  # the same in blocks; with BLOCK_BYTES_MAX the worst case is 64 MiB
FETCH_ESTIMATE_BYTES_MIN = 64 * KIB  # what an unknown or small block counts in the window
FETCH_LOOK_BLOCKS_MAX = 64  # blocks looked up locally in one Call
FETCH_WANTS_MAX = 262_144  # links seen and not yet followed: several of the largest nodes
FETCH_NODES_MAX = 262_144  # inner nodes of one DAG: 11 TB of full files, no bomb of shared links
FETCH_BLOCK_TIMEOUT_US = 20 * SECOND_US  # 2 MiB at 1 Mbit/s, with some to spare
FETCH_STRIKES_MAX = 3  # timeouts in a row of one source before it is left alone for this job
FETCH_BUSY_US = SECOND_US // 4  # pause after a source said `limit_reached`
FETCH_PATIENCE_US = 30 * SECOND_US  # default wait without any new block
FETCH_PATIENCE_US_MAX = 3_600 * SECOND_US  # who waits longer asks again
FETCH_RESUME_PATIENCE_US = 600 * SECOND_US  # after a restart nobody waits, and peers come slowly
FETCH_PROGRESS_US = SECOND_US // 2  # between two progress events
FETCH_WAITERS_MAX = 1_024  # readers waiting for a block of one job
FETCH_SOURCES_MAX = 64  # more peers add nothing to one window
FETCH_BANNED_MAX = 1_024  # peers that sent a wrong block, remembered until the next start

# import
WALK_FILES_MAX = 1_000_000  # files of one import; about 300 bytes of memory each
IMPORT_SKIPS_LISTED_MAX = 10_000  # skipped files named in a result; the rest is only counted
IMPORT_FILE_BYTES_MAX = 8 * 1024 * MIB  # a larger file is skipped
IMPORT_PART_BYTES = 8 * MIB  # a larger file is read in parts of this size; its beginning is indexed
IMPORT_BATCH_BYTES = 8 * MIB  # files stored in one transaction: about 0.3 s of the writer
IMPORT_BATCH_FILES_MAX = 512  # small files stored in one transaction
IMPORT_JOB_BYTES = 1 * MIB  # files read by one job: unpacking its answer holds up the loop for 2 ms
IMPORT_JOB_FILES_MAX = 128  # small files read by one job
INDEX_WORDS_BYTES_MAX = 8 * MIB  # memory of a container's new words until they are written
IMPORT_SNIFF_BYTES = 8 * KIB  # looked at to tell text from binary
TITLE_SCAN_CHARS_MAX = 4 * KIB  # where a title is looked for

# search
CONTAINER_DOCUMENTS_MAX = 50_000  # bounds one step of a search; a full one is never added to
DOCUMENTS_LISTED_MAX = 100_000  # two full containers in one answer
SPACES_MAX = 4_096  # of one person: each is a row and a few open containers
QUERY_CHARS_MAX = 1_000  # QUERY_WORDS_MAX words of 30 characters
QUERY_WORDS_MAX = 32  # each costs one look-up per container
CONDITIONS_MAX = 16  # each is a comparison per candidate
CONDITION_CHARS_MAX = 256  # a field, a comparison and one value
CONDITION_STARS_MAX = 4  # wildcards in one pattern: more make matching slow
SNIPPET_CHARS = 200  # three lines on a terminal
SNIPPET_TEXT_BYTES_MAX = MIB  # beginning of a document in which a snippet is looked for
SNIPPET_CACHE_BYTES_MAX = 16 * MIB  # documents shown lately: the next search shows many again
SNIPPET_MATCHES_MAX = 8  # places looked at per word
SNIPPET_TRIES_MAX = 512  # places where a word could be, per word
VERIFY_DAMAGES_LISTED_MAX = 1_000  # named in a result; the rest is only counted

# fronts, commands and HTTP and the page
ARGUMENT_CHARS_MAX = 256 * KIB  # one text argument; longer text is a file
ARGUMENT_ITEMS_MAX = 10_000  # of one argument that takes many
API_BODY_BYTES_MAX = 4 * MIB  # a JSON body: larger input is uploaded as a blob
API_BODY_SECONDS_MAX = 20  # for a JSON body to arrive whole
API_CHUNK_SECONDS_MAX = 30  # silence in the middle of an upload
WATCHED_AFTER_SECONDS = 0.02  # then it is looked whether the client still waits for its answer
API_HEADER_BYTES_MAX = 64 * KIB  # request line and headers, as nginx's four large buffers
API_HEADER_SECONDS_MAX = 10  # from the first byte of a request to the end of its headers
API_CONNECTIONS_MAX = 512  # open at once: pages, programs, event readers
API_STOP_SECONDS_MAX = 1  # requests that still run when the node stops get this long
BLOB_NAME_CHARS_MAX = 255  # file name that travels with an upload
BLOB_PATH_CHARS_MAX = 2_048  # the folders it lay in and its name; a request line holds it easily
INLINE_IMAGE_BYTES_MAX = 32 * MIB  # a larger picture is not shown inside the page
RUNNING_PAUSE_SECONDS = 0.25  # between two notices of what runs: a bar moves smoothly enough
EVENTS_PAGE_MAX = 512  # stored events read at once for a reader that catches up
EVENTS_TOPICS_MAX = 32  # topics one reader may name
EVENTS_QUERY_CHARS_MAX = 2_048  # of the query that asks for events
EVENTS_QUIET_SECONDS_MAX = 15  # then a comment is sent, so that a reader knows we live
EVENT_LINE_BYTES_MAX = 4 * MIB  # one event or answer line read by a client
LOGIN_CODE_US_MAX = 60 * SECOND_US  # a link is clicked at once, or made again
LOGIN_CODES_MAX = 16  # unused codes; the oldest goes first
SESSIONS_MAX = 64  # browsers logged in; the oldest goes first
SESSION_US_MAX = 30 * 24 * 3600 * SECOND_US  # then a browser logs in again
SESSION_FRESH_US_MAX = 10 * 60 * SECOND_US  # so long after a login the page shows the words
PAGE_DOCUMENTS_MAX = 50  # rows of one page of a list
PAGE_EVENTS_MAX = 512  # latest events looked through for what is new: one read
PAGE_PREVIEW_BYTES_MAX = 64 * KIB  # beginning of a text that is shown inside the page
PAGE_MESSAGES_MAX = 50  # of a conversation at once; earlier ones are loaded when wanted
PAGE_TALKS_MAX = 100  # conversations in the list, those with the latest message
PAGE_HITS_MAX = 20  # search results on the home page
PAGE_PEERS_MAX = 200  # nodes in picture and table; more dots than that say nothing
PAGE_ACTIONS_MAX = 25  # of my chain in an app at once; earlier ones have pages of their own

# configuration and logs
CONFIG_BYTES_MAX = 256 * KIB
CONFIG_ITEMS_MAX = 256  # values of one setting that takes many
LOG_VALUE_CHARS_MAX = 500  # one value of a log line
LOG_FRAMES_MAX = 12  # innermost places of a failure in our own and others' code

# reading while content arrives
READ_PAUSE_SECONDS_MAX = 0.2  # from opening a file to reading it: a busy loop's turn or two
READ_WAIT_SECONDS_MAX = 120  # for one block; a fetch gives up earlier when nobody has it

# people and health
CARD_LIFE_US = 365 * 24 * 3600 * SECOND_US  # a card is passed on by hand: rarely, but not for ever
LAG_WARN_US = 250_000  # a person notices a quarter of a second

# dht: overlays, lookups and what is held for others
PUT_CONTENTS_MAX = 256  # contents of one Call: its lookups and questions share one patience
PUT_PATIENCE_US = 60 * SECOND_US  # some lookups one after another, each with slow or dead nodes
GET_PATIENCE_US = 20 * SECOND_US  # a lookup that meets dead nodes at every step
PRESENCE_BYTES_MAX = 1_024  # one signed presence record: two keys, eight addresses, a signature
PRESENCE_LIFE_US = 2 * 3_600 * SECOND_US  # a node that has gone is forgotten within this time
DHT_KEY_BYTES_MAX = 64  # a CID has 36, a name of a directory below that
DHT_TYPE_CHARS_MAX = 16  # name of a content type
DHT_ITEMS_MAX = 32  # contents of one put or offer: one signature each is about 2 ms of the loop
DHT_PUT_BYTES_MAX = 2 * MIB  # values of one put together: one block of the greatest size
DHT_ANSWER_BYTES_MAX = (
    DHT_PUT_BYTES_MAX  # values of one answer to get; the asker reads on behind the last slot
)
DHT_QUESTION_BYTES_MAX = DHT_PUT_BYTES_MAX + 10 * KIB  # its keys and the asker's presence included
PRESENCE_SHOWN_US = 30 * SECOND_US  # then it is shown again with what is said on a connection
PRESENCES_KEPT_MAX = 4_096  # checked presences remembered: a signature each, about 0.1 ms, saved
REPLACEMENTS_MAX = 8  # nodes that wait for a place in one bucket; the newest are kept
PREFIX_NODES_PER_BUCKET_MAX = 2  # of one IPv4 /24 or IPv6 /48: as in go-libp2p's diversity filter
PREFIX_NODES_PER_TABLE_MAX = 10  # whoever rents one network fills a corner of a table, no more
NODE_FAILURES_MAX = 3  # in a row, while others answer; then a node leaves the table
LOOKUP_PATHS = 3  # disjoint: S/Kademlia's d; liars must sit on all of them
LOOKUP_NODES_MAX = 120  # asked by one lookup: four times what one needs among 10,000 nodes
LOOKUP_CANDIDATES_MAX = 60  # kept on one path: three full answers; the farther ones go
LOOKUPS_AT_ONCE_MAX = 32  # under way; each has three questions open
LOOKUPS_WAITING_MAX = 512  # for their turn; one more is answered with nothing
DHT_ASK_US = 4 * SECOND_US  # for one answer, dialling included
DHT_DIAL_US = 3 * SECOND_US  # a dead address is silent: nobody waits long for one
DHT_SLOW_US = SECOND_US // 2  # after that a lookup asks another meanwhile
DHT_ASKS_MAX = 2_048  # questions of this node that wait for their answers
DHT_ASKS_PER_PEER_MAX = 16  # of them asked of one peer at once
DHT_DIALS_MAX = 16  # at once, of the transport's DIALS_MAX
DHT_CONNECTIONS_MAX = 128  # dialled for lookups and not let go yet: a quarter of CONNECTIONS_MAX
DHT_IDLE_US = 60 * SECOND_US  # then a connection that a lookup dialled is let go
NODE_QUIET_US = 3_600 * SECOND_US  # a node unheard for half the life of a presence is asked
NODE_CHECK_US = 60 * SECOND_US  # how often quiet and doubtful nodes are looked for
NODE_CHECKS_MAX = 8  # questions at once whether nodes are there, and to newcomers
REFRESH_US = 3_600 * SECOND_US  # how often the sparse parts of a table are looked up (Kademlia)
JOIN_US = 10 * SECOND_US  # between two lookups of one's own location while the table is small
QUESTION_COST_US = SECOND_US // 50  # one peer: 50 questions each second...
QUESTION_BURST_US = 4 * SECOND_US  # ...after a burst of 200: many values put again at once
QUESTIONS_LOADING_MAX = 256  # questions of peers that wait for the library
HELD_LIFE_US = 48 * 3_600 * SECOND_US  # as libp2p's provider records: a publisher may rest a day
DHT_MESSAGE_ITEMS_MAX = 1_024  # dag-cbor items of one message: 32 puts have 300, 256 values less
DHT_SMALL_BYTES_MAX = 22 * KIB  # a question without values: 32 offers with the longest keys
DHT_VALUES_MAX = 256  # of one answer: each may be a signature to verify, together 30 ms of the loop
HELD_PAGE_MAX = 1_000  # held blocks compared at once when a node starts
HELD_SLOT_BYTES_MAX = 64  # name of a slot: a peer id or a hash
HELD_EVICTED_MAX = 16  # farther values that give way to one nearer value; else it is refused
HELD_BLOCKS_BYTES_MAX = 1_024 * MIB  # blocks held for others by one node
PROVIDERS_BYTES_MAX = 64 * MIB  # provider records held for others by one node
PROVIDER_RECORD_BYTES_MAX = 1_024  # a CID, a peer id, eight addresses, a signature
PROVIDERS_MAX = 20  # providers of one CID: more are not needed to fetch it
HOLDERS_SLACK = 4  # a node whose rank is at most q + 4 accepts: routing tables differ a little
REPUT_US = 3_600 * SECOND_US  # how often a holder offers what it holds to those nearest now
MEND_LIFE_US = 6 * 3_600 * SECOND_US  # a block put back after a get, until a holder puts it again
RECENT_OFFERS_MAX = 16_384  # contents that another holder offered lately, so that we need not
MENDS_OPEN_MAX = 32  # values put back after gets that wait for an answer
TAKEN_OPEN_MAX = 64  # puts of peers that wait for the library: 2 MiB each at most
PLACINGS_MAX = 16  # puts under way in one machine: each holds its values in memory
PLACING_LOOKUPS_MAX = 4  # lookups of one put at once
PLACING_FLIGHTS_MAX = 2  # questions of one put to one holder at once
OFFER_VALUE_BYTES_MIN = 1_024  # a larger value is offered before it is sent
NEIGHBOURHOODS_MAX = 64  # neighbourhoods remembered from lookups...
NEIGHBOURHOOD_LIFE_US = 60 * SECOND_US  # ...for so long

# public spaces: publishing, the open index and public search
INDEX_BLOCK_BYTES_MAX = 256 * KIB  # one block of an open index: a chunk of a file
INDEX_BLOCK_ITEMS_MAX = 32 * KIB  # dag-cbor items of one block: 5,000 parts of a root have 30,000
INDEX_FILL_BYTES_MAX = 192 * KIB  # words or places of one block; the rest is its terms
INDEX_TERM_BYTES_MAX = 128  # a longer word is no word; it is not found in public
INDEX_PLACES_MAX = 4_096  # places of one word in one document that phrases can match
PHRASE_PLACES_MAX = 4 * MIB  # of one word of a phrase in one space: 60 bytes of memory each
INDEX_SHARDS_MAX = 4_096  # blocks named by one root: 1 GiB of index
INDEX_TAKE_BYTES_MAX = 8 * MIB  # blocks of an index in the making held in memory
PUBLIC_DOCUMENTS_MAX = 100_000  # documents of one public space: two full containers
PUBLIC_KINDS_MAX = 16  # kinds of documents in one space
BEGINNING_CHARS_MAX = 240  # text of a document that an open index shows
FILTER_BYTES_MAX = 8 * KIB  # Bloom filter of a manifest: 6,500 words at 1 % error
FILTER_BITS_PER_TERM = 10  # 1 % error with 7 hashes
MANIFEST_BYTES_MAX = 16 * KIB  # the filter, keys, a name, up to 16 kinds, a signature
MANIFEST_LIFE_US_MAX = 48 * 3_600 * SECOND_US  # a publisher that has gone is forgotten after it
MANIFESTS_PER_KEY_MAX = 4_096  # slots of one of 16 directory keys
MANIFEST_QUOTA_BYTES = 256 * MIB  # manifests held for others: all 16 keys, sparsely filled
PUBLISH_PAGE_BLOCKS_MAX = 16_384  # blocks listed at once while publishing: 0.6 MB
PUBLISH_BATCH_BYTES_MAX = 4 * MIB  # values of one dht.put
PUBLISH_BATCHES_MAX = 2  # batches under way per space
PUBLISHING_AT_ONCE_MAX = 2  # spaces published at the same time
PUBLISHED_SPACES_MAX = 1_024  # public spaces of one node: a record of up to 10 KB each
PUBLISH_DEBOUNCE_US = 5 * SECOND_US  # quiet after a change of a public space
PUBLISH_LOOK_US = 60 * SECOND_US  # how often public spaces are compared with what was published
PUBLISH_WAIT_US = 5 * SECOND_US  # how often is looked whether other nodes are there
PUBLISH_LOOKS_CONNECTED_MIN = 20  # the same while somebody is connected, who may be of the overlay
PUBLISH_LOOKS_MIN = 5  # looks at which nobody was there before that is said: a second each
PUBLISH_RETRY_US_MAX = 300 * SECOND_US  # pause after failed puts, doubled up to here
PUBLISH_AGAIN_US = 12 * 3_600 * SECOND_US  # everything is put again, well before 48 h
PUBLISH_SHORT_US = 600 * SECOND_US  # earlier when fewer nodes hold it than are wanted
PUBLIC_QUESTION_BYTES_MAX = 256  # a CID
PROVIDERS_ASKED_MAX = 8  # nodes dialled for one fetch
PROVIDER_DIAL_US_MAX = 5 * SECOND_US  # then the next one, or the overlay
PROVIDER_WAIT_US_MAX = SECOND_US // 2  # then the overlay is asked beside providers that are slow
PUBLIC_BLOCK_TIMEOUT_US = 5 * SECOND_US  # of a provider, who is a stranger: others have it, too
PRIVATE_CIDS_MAX = 16_384  # contents known to be granted, never asked for in public
DIRECTORY_KEYS = 16  # four bits of the hash of a space id
DIRECTORY_OLD_US = 30 * SECOND_US  # then a search brings the manifests again
DIRECTORY_MISS_US = 2 * SECOND_US  # as above, when no known space can have what is looked for
DIRECTORY_GET_US = 3 * SECOND_US // 2  # per key: one silent node does not hold up the search
DIRECTORY_WAIT_US_MAX = 3 * SECOND_US  # how long a search waits for them
DIRECTORY_PAGES_MAX = 64  # answers read per key: 128 MiB of manifests
DIRECTORY_SPACES_MAX = 4_096  # manifests kept by one node...
MANIFESTS_KEPT_BYTES_MAX = 32 * MIB  # ...and their bytes
PUBLIC_OPENED_MAX = 64  # spaces opened by one search; further ones are named as skipped
PUBLIC_SEARCHES_MAX = 16  # public searches under way
PUBLIC_SEARCH_US_MAX = 5 * SECOND_US  # then what is there is ranked
PUBLIC_ROWS_US_MIN = SECOND_US  # what was found is shown, also when finding took all the time
PUBLIC_GETS_MAX = 32  # index blocks asked for at once by one search
PUBLIC_SPACE_BLOCKS_MAX = 64  # index blocks of one space in one search: 16 MiB
PUBLIC_SEARCH_BYTES_MAX = 64 * MIB  # index blocks of one search
PUBLIC_CACHE_BYTES_MAX = 32 * MIB  # index blocks kept in memory for the next search
PUBLIC_PREFIX_TERMS_MAX = 1_024  # words that one prefix may stand for in one space
