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

# identity and grants
CERTIFICATE_BYTES_MAX = 512  # two keys, a name, two dates, a signature
GRANT_BYTES_MAX = 1_024  # three keys, up to eight rights, two dates, a signature
DEVICE_NAME_CHARS_MAX = 64  # shown to people
RIGHTS_MAX = 8  # "read" and "search" today
CLOCK_AHEAD_US_MAX = 120 * SECOND_US  # clocks of two machines may differ by this; then: parked
PASSPHRASE_BYTES_MAX = 1_024  # what Argon2id is given
PASSPHRASE_BYTES_MIN = 8  # shorter ones fall to a list of common words
KEY_FILE_BYTES_MAX = 4 * KIB
ARGON2_MEMORY_KIB = 64 * KIB  # RFC 9106, second recommended option: 64 MiB, 3 passes, 4 lanes
ARGON2_PASSES = 3
ARGON2_LANES = 4
ARGON2_MEMORY_KIB_MAX = 1 << 20  # a key file that asks for more than 1 GiB is refused
ARGON2_PASSES_MAX = 64
ARGON2_LANES_MAX = 64

# store
DISK_RESERVE_BYTES_MIN = 64 * MIB  # below this much free space no new work is accepted
STORE_WORKS_MAX = 1_024  # works waiting for the writer; beyond it callers are told to come later
STORE_COMMITS_MAX = 16  # the driver's commits, never refused, have their own seats
STORE_GROUP_WORKS_MAX = 256  # works that share one transaction: bounds how long the first one waits
STORE_READERS_MAX = 4  # snapshot connections; each costs a page cache of up to 4 MB
STORE_READER_WAIT_SECONDS_MAX = 30  # then the reader is told that the node is busy
STORE_BUSY_MS_MAX = 5_000  # SQLite waits this long for another process's lock (a tool's checkpoint)
STORE_WAL_BYTES_MAX = 64 * MIB  # the log file is cut back to this size after a checkpoint
PACKS_OPEN_MAX = 32  # open pack files for reading: 8 GiB of packs without reopening
SWEEP_ROWS_MAX = 5_000  # block rows looked at per transaction of a sweep

# sealing
SEAL_CHUNK_BYTES = 64 * KIB  # dms3-search.md section 3: chunk of a sealed stream

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
