"""Every bound of the program, with its unit, source and reason; nothing queues or loops without.

Names end in their unit and `_MAX` (or `_MIN`). A subsystem takes its bounds from here.
"""

from dms3.core.limits_chain import *  # noqa: F403 - one place to take bounds from
from dms3.core.limits_dht import *  # noqa: F403 - one place to take bounds from
from dms3.core.limits_messaging import *  # noqa: F403 - one place to take bounds from
from dms3.core.limits_network import *  # noqa: F403 - one place to take bounds from
from dms3.core.limits_overlay import *  # noqa: F403 - one place to take bounds from
from dms3.core.limits_search import *  # noqa: F403 - one place to take bounds from
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
