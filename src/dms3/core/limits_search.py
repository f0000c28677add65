"""Bounds of files, import, search, sharing and public spaces; `core/limits.py` passes them on.

Names end in their unit and `_MAX` (or `_MIN`).
"""

from dms3.core.units import KIB, MIB, SECOND_US

# content
BLOCK_BYTES_MAX = 2 * MIB  # bitswap specification: larger blocks are not exchanged
CHUNK_BYTES = 262_144  # kubo default chunker, size-262144
LINKS_PER_NODE_MAX = 174  # kubo default balanced layout
DIRECTORY_BYTES_MAX = 256 * KIB  # kubo: a directory whose links need more becomes a HAMT
HAMT_FANOUT = 256  # kubo default shard width
DAG_DEPTH_MAX = 64  # deeper trees than any file or folder we accept: 174**64 chunks

# files and folders
NODE_LINKS_MAX = 65_536  # links of one foreign dag-pb node: a block of 2 MiB holds about 45,000
HAMT_LEVELS_MAX = 8  # 64 bits of hash, eight per level
DIRECTORY_ENTRIES_MAX = 1_000_000  # names listed of one folder
NAME_BYTES_MAX = 255  # one name in a folder: the bound of common file systems
PATH_PARTS_MAX = 64  # names in a path below a CID, and folders inside folders of an import

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
