"""Every bound of the program, with its unit, source and reason; nothing queues or loops without.

Names end in their unit and `_MAX` (or `_MIN`). A subsystem takes its bounds from here.
"""

KIB = 1024
MIB = 1024 * KIB
SECOND_US = 1_000_000

# core
PERSIST_VALUE_BYTES_MAX = 64 * KIB  # a larger value goes to a pack: decisions.md, store
EVENTS_KEPT_MAX = 10_000  # history a reader of the event stream can catch up on
CLOCK_JUMP_US_MAX = 2 * SECOND_US  # architecture.md: a larger wall jump arrives as an event

# driver
INBOX_EVENTS_MAX = 4_096  # per machine; each event is at most a frame, so memory is bounded by both
COMMIT_EVENTS_MAX = 512  # events in one group commit: bounds the time the next group waits
COMMIT_WRITES_MAX = 8_192
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
DEMO_WALK_FILES_MAX = 20_000  # files looked at when a folder is split for the tour
DEV_NODES_MAX = 64  # processes on one machine: about 100 MB of memory each
DEV_START_SECONDS_MAX = 120  # a slow machine starting many at once
DEV_STOP_SECONDS_MAX = 10  # interfaces.md: a node stops within 3 s; then it is killed
