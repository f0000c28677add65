"""Bounds of source chains, rules and apps; `core/limits.py` passes them on.

Names end in their unit and `_MAX` (or `_MIN`).
"""

from dms3.core.units import KIB, MIB, SECOND_US

# chain
ENTRY_BYTES_MAX = 1 * MIB  # a larger value is a document: the entry names its CID
ACTION_BYTES_MAX = 8 * KIB  # keys, dates, a tag of 1,000 bytes, a proof of 4 KiB
TAG_BYTES_MAX = 1_000  # as Holochain has it
MEMBRANE_PROOF_BYTES_MAX = 4 * KIB  # an invitation with a few signatures
OPS_PER_ACTION_MAX = 6  # record, entry, activity, and two or three that it refers to
BUNDLE_ACTIONS_MAX = 256  # one transaction of the database
DNA_BYTES_MAX = 1 * MIB  # rules and manifest; forty lines have 2 KB
COUNTERSIGNERS_MIN, COUNTERSIGNERS_MAX = 2, 8  # parties of one session
RECEIPT_UPTIME = 8  # r: the sum of uptimes of who holds an op; P(nobody is on) <= e**-8
PUBLISH_RETRY_US_MIN, PUBLISH_RETRY_US_MAX = 5 * SECOND_US, 300 * SECOND_US

# own chains
AGENT_QUESTION_BYTES_MAX = ENTRY_BYTES_MAX + 64 * KIB  # an entry to countersign, with signatures
CHAINS_MAX = 1_024  # chains of one person kept at a node, those of other devices counted
COMMITS_WAITING_MAX = 256  # bundles of one chain that wait for their turn; then `limit_reached`
COMMIT_BYTES_MAX = 4 * MIB  # entries of one bundle: one transaction of the database
ENTRY_PART_BYTES_MAX = 60 * KIB  # of an entry in one row of the database, which holds 64
PUBLISH_PARALLEL_MAX = 16  # questions of a publishing under way at once
PUBLISH_ACTIONS_MAX = 4_096  # actions that wait in memory to be published; the rest on disk

# CAR files and the IPFS gateway
CAR_HEADER_BYTES_MAX = 64 * KIB  # a version and 1,000 roots of 41 bytes
CAR_ROOTS_MAX = 1_000  # each becomes a document or a folder
CAR_BLOCKS_MAX = 256 * KIB  # blocks of one CAR that is read or written: 64 GiB of full chunks
CAR_FILES_MAX = 100_000  # files in the folders of one CAR: 300 bytes of memory each
DAG_CBOR_ITEMS_MAX = 256 * KIB  # items looked at for links in one block: 0.1 s
GATEWAY_ANSWERS_MAX = 64  # answers with content under way; each holds one piece in memory...
GATEWAY_ANSWERS_PER_HOST_MAX = 16  # ...of one address: two browsers with six connections each
GATEWAY_PIECE_BYTES = 1 * MIB  # read at once: four full chunks
GATEWAY_PIECE_SECONDS_MAX = 30  # for a client to take one piece; then its place is given away
GATEWAY_BYTES_PER_SECOND = 32 * MIB  # of one answer to another machine...
GATEWAY_BURST_BYTES = 16 * MIB  # ...after so much at once
GATEWAY_CAR_BYTES_MAX = 4 * 1024 * MIB  # of one CAR; larger DAGs are taken folder by folder
GATEWAY_LISTED_MAX = 10_000  # names of a folder shown; a CAR has them all
GATEWAY_FIELDS_MAX = 32  # parameters in a query; the specification has nine
GATEWAY_ACCEPT_ITEMS_MAX = 32  # media types looked at in one Accept header; browsers send eight
CID_PATH_BYTES_MAX = 16 * KIB  # 64 names of 255 bytes

# apps ask agents
FUNCTION_NAME_CHARS_MAX = 64  # of an exposed function; eight of them fit in a grant of 1 KiB
