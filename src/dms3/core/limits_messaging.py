"""The bounds of messaging: formats, names, delivery services, the mailbox, conversation storage.

As in `limits.py`, through which they are taken: units in the names, the reason beside each.
"""

from dms3.core.units import KIB, MIB, SECOND_US

# formats of dm3
DM3_ENVELOPE_BYTES_MAX = 20_000_000  # the specification's hard cap; a service sets a lower one
DM3_RECORD_BYTES_MAX = 64 * KIB  # a profile has 600 bytes; an ENS text record costs gas by the byte
DM3_SMALL_BYTES_MAX = 16 * KIB  # a postmark, delivery information, an extension: padded to 2 KiB
DM3_JSON_DEPTH_MAX = 16  # the deepest object of the protocol has 5 levels
DM3_JSON_ITEMS_MAX = 16_384  # brackets, commas and colons: 1,001 acknowledgements have 6,000
DM3_NUMBER_CHARS_MAX = 64  # JavaScript prints at most 25 characters of a number
DM3_NAME_CHARS_MAX = 255  # a DNS name, which ENS wildcards are asked by
DM3_SERVICES_MAX = 16  # delivery services of one profile: each costs the sender a submission
DM3_ATTACHMENTS_MAX = 256  # of one message; its bytes are bounded by the envelope
DM3_URL_CHARS_MAX = 2_048  # of a delivery service: what every browser and proxy takes
DM3_ACKNOWLEDGEMENTS_MAX = 1_024  # in one request: a service returns 1,001 of a conversation
DM3_TOKEN_CHARS_MAX = 2_048  # a challenge with a name of 255 characters has 600
DM3_TOKEN_AHEAD_SECONDS_MAX = 60  # a token of a service whose clock is ahead of ours is still taken

# names
PROFILE_RECORD_BYTES_MAX = 8 * KIB  # two keys, up to eight services, a URL, two signatures
PROFILE_RECORDS_BYTES_MAX = 64 * MIB  # held for others by one node: some 60,000 people
NAME_CLAIM_BYTES_MAX = KIB  # a name, a key, a puzzle, a signature
NAME_CLAIMS_BYTES_MAX = 16 * MIB  # held for others by one node
NAME_RECORD_LIFE_US = 30 * 24 * 3_600 * SECOND_US  # a person may be away for a month of holidays
NAME_AGAIN_US = 12 * 3_600 * SECOND_US  # own records are put again, well before they expire
NAME_SHORT_US_MIN = 2 * SECOND_US  # ...and sooner while fewer than HOLDERS_MIN nodes hold them...
NAME_SHORT_US_MAX = 600 * SECOND_US  # ...twice as late each time, up to this
NAME_LABEL_CHARS_MIN = 3  # of a first-come name, so that the shortest are left for later rules
NAME_LABEL_CHARS_MAX = 48  # shorter than the 52 characters of a name that is a key
NAME_WORK_BITS = 18  # leading zeros of the puzzle of a claim: 0.3 s of one core, for each name
NAME_WORK_SLICE_TRIES_MAX = 2_048  # 2 ms of a node's loop at once
NAME_WORK_PAUSE_US = 1_000  # between two slices, so that others get their turn
NAME_WORK_TRIES_MAX = 1 << 24  # (1 - 2**-18)**(2**24) = e**-64: as good as never all in vain
NAMES_OWN_MAX = 16  # names of one person, the self-certifying one beside them
NAMES_CACHED_MAX = 4_096  # people and services of a busy delivery service: 2 KB each
NAMES_PINNED_MAX = 4_096  # first-come names remembered with the key they had when first seen
NAMES_LOOKUPS_MAX = 32  # at once...
NAMES_WAITING_MAX = 1_024  # ...and waiting for their turn; the next one is told to come later
NAMES_WAITERS_MAX = 256  # who waits for the same name; the next one is told to come later
NAME_FRESH_US = 60 * SECOND_US  # a changed record is seen within this time
NAME_MISSING_US = 10 * SECOND_US  # ...and a new one within this: people try again at once
ABI_DEPTH_MAX = 8  # types of ENS nest three deep
ABI_ITEMS_MAX = 4_096  # values in one answer of a contract: the records of 500 names
ABI_TEXT_BYTES_MAX = 512 * KIB  # bytes and text in one answer, counted as often as they occur
CCIP_ROUNDS_MAX = 4  # ERC-3668: look-ups that an answer of a gateway leads to
CCIP_URLS_MAX = 8  # gateways of one look-up that are tried
CCIP_BATCH_MAX = 8  # look-ups of one batch (ENSIP-21): three records are asked for at once
CCIP_SECONDS_MAX = 20  # all gateways of one look-up together
CCIP_ANSWER_BYTES_MAX = 512 * KIB  # of a gateway: hex of up to 256 KiB
ETHEREUM_SECONDS_MAX = 10  # then the next node is asked
ETHEREUM_ANSWER_BYTES_MAX = MIB  # of an Ethereum node: a text record has 64 KiB at most, in hex
ETHEREUM_CALLS_MAX = 32  # questions under way; more wait for their turn
WEB_SECONDS_MAX = 15  # one fetch of what a record links to
NAME_FAILED_US = 2 * SECOND_US  # a source that could not be asked is left alone for so long

# places of conversation storage
PLACE_OBJECT_BYTES_MAX = 2 * MIB  # one object: what is larger is cut by whoever stores it
PLACE_LIST_NAMES_MAX = 1_000  # names of one page, as in S3
PLACE_LISTED_MAX = 200_000  # names read to make a page where a place cannot begin in the middle
PLACE_CALLS_MAX = 8  # at one place at once: the other half of a home's line stays free
PLACE_WAITING_MAX = 1_024  # operations waiting for their turn at one place
PLACE_SECONDS_MAX = 60  # one operation: 2 MiB over a line of 0.3 Mbit/s
PLACE_KEYS_TRIED_MAX = 256  # generations of profile keys: one for each device ever removed
PLACES_OPEN_MAX = 4  # places with open connections: two of a move, and two that are checked
PLACE_URL_CHARS_MAX = 2_048  # what every browser and proxy takes
PLACE_SECRET_BYTES_MAX = 16 * KIB  # options as JSON; a key file of a cloud has 3 KB
PLACE_PART_OLD_US_MIN = 24 * 3_600 * SECOND_US  # then an unfinished upload is of a device that died
LOCKER_OBJECT_BYTES_MAX = MIB  # what conversation storage writes at once
LOCKER_BYTES = 256 * MIB  # of one account at a delivery service
LOCKER_OBJECTS_MAX = 20_000  # of one account; merged chunks of 100,000 messages are some hundred
LOCKER_LIST_NAMES_MAX = 1_000  # names of one page
CLOUD_TEXT_CHARS_MAX = 2_048  # a sealed contact name or profile location; names have up to 255
CLOUD_CONTAINER_BYTES_MAX = 512 * KIB  # a sealed envelope in base64, twice
CLOUD_BATCH_MAX = 256  # messages of one request; the reference's client sends some dozens
CLOUD_PAGE_MAX = 1_000  # messages or conversations of one answer
CLOUD_ANSWER_BYTES_MAX = 16 * MIB  # containers of one answer; the rest is on the next page
CLOUD_NUMBER_MAX = (1 << 53) - 1  # what JavaScript counts exactly
CHUNK_VALUE_BYTES_MAX = 56 * KIB  # a row of the database has 64 KiB, with its key and dates
CHUNK_PART_BYTES = 48 * KIB  # of an object in one chunk of the overlay
CHUNK_LIFE_US = 60 * 24 * 3_600 * SECOND_US  # a person may be away for a month...
CHUNK_RENEW_US = 30 * 24 * 3_600 * SECOND_US  # ...after any renewal: at half of the life
CHUNKS_BYTES_MAX = 256 * MIB  # chunks held for others by one node
CHUNK_WORK_BITS = 14  # zero bits of the puzzle of a key: 25 ms of one core, once for each name
CHUNK_WORK_TRIES_MAX = 1 << 20  # (1 - 2**-14)**(2**20) = e**-64: as good as never all in vain
CHUNK_HOLDERS_MIN = 3  # as many as a get hears: with fewer it is nowhere durable
CHUNK_PARTS_MAX = 64  # chunks of one object: more than PLACE_OBJECT_BYTES_MAX needs
CHUNK_PUTS_MAX = 8  # chunks of one put to the overlay: 0.5 MiB in memory
CHUNK_RENEW_PAUSE_US = 3_600 * SECOND_US  # between two looks for what expires
CHUNK_RENEWALS_MAX = 64  # names looked at in one round of renewal

# the public listener
PUBLIC_BODY_BYTES_MAX = MIB + 64 * KIB  # an object of conversation storage; envelopes are smaller
PUBLIC_CONNECTIONS_MAX = 2_048  # open at once: every push is one
PUBLIC_CONNECTIONS_PER_HOST_MAX = 64  # of one address: a family behind one router
PUBLIC_REQUESTS_PER_SECOND = 50  # of one address...
PUBLIC_REQUESTS_BURST_MAX = 500  # ...after so many at once
PUBLIC_HOSTS_NOTED_MAX = 16_384  # addresses whose requests are counted; the longest quiet one goes

# the delivery service
MAIL_ENVELOPE_BYTES_MAX = 100_000  # as the reference; a service may set less
MAIL_ACCOUNTS_MAX = 100_000  # of one service: 1 KB each
MAIL_ACCOUNTS_CACHED_MAX = 4_096  # in memory, 1 KB each: who gets and fetches messages now
MAIL_ACCOUNT_BYTES = 64 * 1024 * KIB  # waiting for one receiver, unless the operator says another
MAIL_QUOTA_BYTES_MAX = 1_024 * MIB  # waiting for one receiver, whatever an operator says
MAIL_ACCOUNT_MESSAGES_MAX = 10_000  # waiting for one receiver: 64 MiB of the smallest
MAIL_SENDER_MESSAGES_MAX = 1_001  # of one sender, for one receiver: what the reference hands out
MAIL_SENDER_PER_SECOND = 20  # messages of one sender...
MAIL_SENDER_BURST_MAX = 1_001  # ...after so many at once: what was kept for a receiver while away
MAIL_SENDERS_NOTED_MAX = 16_384  # senders whose messages are counted; the longest quiet one goes
MAIL_CONVERSATIONS_FETCHED_MAX = 101  # as the reference: its index is read from 0 to 100
MAIL_FETCH_BYTES_MAX = 16 * 1024 * KIB  # of one answer; the rest comes after the acknowledgement
MAIL_FETCHES_MAX = 4  # answers in the making at once: 64 MiB
MAIL_SEEN_MS = 30 * 24 * 3_600_000  # a picked-up envelope is known for so long when it comes again
MAIL_SWEEP_ROWS_MAX = 256  # expired rows removed in one transaction
MAIL_SWEEP_SECONDS = 300  # between two looks for what has expired
MAIL_TRUNCATE_SECONDS = 1  # after a deletion, until the log that still has it is emptied
MAIL_INTERVAL_SECONDS = 86_400  # of the metrics of the reference
MAIL_INTERVALS_SECONDS = 864_000  # for how long they are kept
MAIL_NAMES_CACHED_MAX = 4_096  # names resolved lately: 1 KB each
MAIL_NAME_FRESH_US = 60 * SECOND_US  # then a name is resolved again
MAIL_NAME_STALE_US = 3_600 * SECOND_US  # as long a profile is believed that cannot be asked again
MAIL_LOOKUPS_MAX = 24  # names looked up for strangers at once: the person has the rest...
MAIL_LOOKUPS_PER_DOMAIN_MAX = 8  # ...of one domain, whose owner chooses how slowly it answers
MAIL_NAME_AGAIN_US = 10 * SECOND_US  # between two fresh looks at a name whose signature is wrong
MAIL_CHALLENGES_SPENT_MAX = 65_536  # used ones are remembered until they expire, 15 min
MAIL_RULE_DIGITS_MAX = 78  # of a number of tokens: 2**256
MAIL_PUSHES_WAITING_MAX = 1_024  # of all sockets; further ones are fetched, not pushed: 10 KB each
MAIL_SOCKET_LOGIN_SECONDS_MAX = 10  # a socket without a session is closed after twice that
MAIL_SOCKETS_PER_ACCOUNT_MAX = 16  # devices of one person that get pushes
MAIL_PROFILES_NOTED_MAX = 32  # replaced profiles of one account that do not come back

# conversation storage
STORAGE_ITEM_BYTES_MAX = 21 * MIB  # one item: the largest message there is, DM3_ENVELOPE_BYTES_MAX
STORAGE_KEY_CHARS_MAX = 256  # of an item: a hash has 66, a person's name at most 255
STORAGE_CHUNK_ITEMS_MAX = 1_024  # of one chunk: what a new device shows first is one or two gets
STORAGE_OBJECT_BYTES_MAX = MIB  # sealed; a larger chunk is cut: within PLACE_OBJECT_BYTES_MAX
STORAGE_OBJECT_BYTES_MIN = KIB  # sizes are padded to powers of two from here on
STORAGE_PARTS_MAX = 24  # objects of one chunk: the largest item
STORAGE_MERGE_CHUNKS = 16  # so many small neighbours become one: each item is written again 2 times
STORAGE_REFS_MAX = 160  # chunks in a head, which is written with every append: 27 KB
STORAGE_PAGE_REFS = 64  # chunks of a page, to which the oldest of a head go
STORAGE_PAGES_MAX = 4_096  # of one device: 250,000 chunks
STORAGE_HEAD_BYTES_MAX = 48 * KIB  # a head, with what is known of its device, is one row
STORAGE_DEVICES_MAX = 16  # of one person: each look asks after every slot
STORAGE_REMOVED_MAX = 256  # devices ever removed: 16 bytes each in every announcement
STORAGE_NEXT_BYTES_MAX = 32 * KIB  # an announcement: a place with its secret, and who was removed
STORAGE_GROUNDS_MAX = 64  # moves and removals that a device follows after a long absence
STORAGE_WAITING_ITEMS_MAX = 4_096  # not yet written: then whoever appends is told to come later...
STORAGE_WAITING_BYTES_MAX = 64 * MIB  # ...and so many bytes
STORAGE_GATHER_US = 20_000  # appends of a burst go into one chunk
STORAGE_GETS_MAX = 4  # at once: half of PLACE_CALLS_MAX
STORAGE_LOOK_US_MIN = 5 * SECOND_US  # between looks at other devices, after something happened...
STORAGE_LOOK_US_MAX = 300 * SECOND_US  # ...and twice as late each time that nothing had, up to this
STORAGE_ROSTER_US = 600 * SECOND_US  # between two looks at all slots: 16 questions
STORAGE_RETRY_US_MIN = SECOND_US  # after a place has failed...
STORAGE_RETRY_US_MAX = 300 * SECOND_US  # ...twice as late each time, up to this
STORAGE_TRIES_MAX = 3  # of one question to a place before all that needs its answer begins again
STORAGE_SETTLE_US = 3 * SECOND_US  # what several devices may write is read again after this time
STORAGE_FIRST_ITEMS_MIN = 1_000  # a new device brings so many at once, newest first...
STORAGE_HISTORY_US = 2 * SECOND_US  # ...and then a chunk each time this has passed
STORAGE_SPANS_MAX = 64  # gaps in what was read of one device; beyond it some are read again
STORAGE_PARTING_US = 7 * 24 * 3_600 * SECOND_US  # who is away for longer is not waited for
STORAGE_GARBAGE_US = 3_600 * SECOND_US  # a merged chunk stays as long for those who are reading
STORAGE_GARBAGE_ROWS_MAX = 256  # looked at in one round

# messages of a person: the machine "mailbox"
MAIL_KEYS_MAX = 64  # changes of keys in a life; each is tried on a message that no newer one opens
MAIL_PEOPLE_MAX = 10_000  # correspondents; more than anybody writes with
MAIL_REQUESTS_MAX = 1_000  # strangers about whom nothing was decided; further ones are dropped
MAIL_REQUEST_MESSAGES_MAX = 32  # messages of one stranger that are kept until something is decided
MAIL_NAMES_MAX = 16  # names of one person
MAIL_EARLIER_KEYS_MAX = 8  # earlier signing keys of one person, for messages still on their way
MAIL_OUTBOX_MAX = 10_000  # messages that no service has yet: a year of writing to the unreachable
MAIL_SENDING_MAX = 64  # letters in a round at once, each with up to DM3_SERVICES_MAX questions
MAIL_AGAIN_US_MIN = 5 * SECOND_US  # after the first failed round; doubles
MAIL_AGAIN_US_MAX = 900 * SECOND_US  # whoever comes back is written to within a quarter of an hour
MAIL_EXTRA_ROUNDS_MAX = 10  # for services that lack what another has: about one hour and a half
MAIL_REFUSED_ROUNDS_MAX = 3  # a service that refuses so often means it
MAIL_RESOLVE_US = 5 * SECOND_US  # a person who sends waits no longer for who the receiver is
MAIL_PROBLEM_CHARS_MAX = 2_000  # why a message is not sent; 16 services may say 512 each
MAIL_DIRECT_BYTES_MAX = 2 * MIB  # an envelope from node to node: a frame with one body
MAIL_DIRECT_COST_US = 10_000  # envelopes of one peer: 100 each second...
MAIL_DIRECT_BURST_US = 5 * SECOND_US  # ...after 500 at once
MAIL_DIRECT_REFUSED_US = SECOND_US  # one that is proven wrong is written down and told of
MAIL_DIRECT_OPEN_MAX = 256  # envelopes of peers being verified
MAIL_DIRECT_PER_PEER_MAX = 32  # of one peer
MAIL_DIRECT_TIMEOUT_US = 15 * SECOND_US  # to look up the sender over the overlay and to keep it
MAIL_ARRIVALS_OPEN_MAX = 2_048  # envelopes being verified: two full answers of services
MAIL_DONE_MAX = 16_384  # digests of what was acknowledged, for services that give it again
MAIL_HELD_MAX = 1_024  # envelopes that cannot be verified now; beyond it they only wait there
MAIL_HELD_US_MAX = 7 * 24 * 3600 * SECOND_US  # a sender nobody can look up for a week is no one
MAIL_REFUSED_MAX = 1_000  # records of what was proven wrong
MAIL_EARLY_MAX = 10_000  # states of messages that another device has and this one not yet
MAIL_UNSHARED_MAX = 50_000  # items that storage has not taken; then nothing more is received
MAIL_SHARE_ITEMS_MAX = 64  # items handed to storage at once
MAIL_SHARES_OPEN_MAX = 2_048  # such hand-overs without an answer: half of ASKS_OPEN_MAX
MAIL_REPEAT_MESSAGES_MAX = 64  # read at once when storage is told everything again...
MAIL_REPEAT_REST_US = 100_000  # ...after a rest each time...
MAIL_REPEAT_WAITING_MAX = 512  # ...and not while so many items wait to be written
MAIL_SHARE_AGAIN_US = 30 * SECOND_US  # storage that failed is asked again
MAIL_NAMES_US = 60 * SECOND_US  # how often the own names are asked for
MAIL_PUBLISH_AGAIN_US = 30 * SECOND_US  # a profile that could not be published
MAIL_CARRIERS_MAX = 16  # DM3_SERVICES_MAX: own services and own nodes together
MAIL_LEAVING_US = 3 * 24 * 3600 * SECOND_US  # a service that was left is still asked that long
MAIL_INCOMING_MAX = 1_000  # envelopes of one answer of a service
MAIL_POLL_US = 30 * SECOND_US  # a service that does not push is asked that often...
MAIL_POLL_PUSHED_US = 60 * SECOND_US  # ...and one that does, because a push may get lost
MAIL_FETCH_AGAIN_US_MAX = 300 * SECOND_US  # an own service that does not answer
MAIL_FETCH_WAIT_US = 20 * SECOND_US  # a person who fetches waits no longer
MAIL_LEAVE_WAIT_US = 20 * SECOND_US  # for what waits at a service that is left
MAIL_ACKNOWLEDGE_US = 50_000  # what becomes durable together is acknowledged together
MAIL_ACKNOWLEDGE_MAX = 500  # in one request

# messages: tables, courier, commands
MESSAGES_LISTED_MAX = 500  # of one page of a conversation: some 5 MB with the largest envelopes
MESSAGES_UNSENT_MAX = 10_000  # looked at together; the rest after these
MESSAGE_FOLDS_MAX = 5_000  # edits, deletions and reactions read for one page
CONVERSATIONS_LISTED_MAX = 1_000  # of one answer
MESSAGE_TEXT_CHARS_MAX = 50_000  # services take 100,000 bytes; four-byte letters may not fit then
ATTACHMENTS_MAX = 16  # of one message
ATTACHMENT_BYTES_MAX = 16 * MIB  # read from disk before the limits of services are known
SERVICE_ENVELOPE_BYTES = 100_000  # what a delivery service takes unless it says otherwise (dm3)
COURIER_CONNECT_SECONDS_MAX = 10  # then the service counts as unreachable
COURIER_SECONDS_MAX = 60  # one question to a service, wholly
COURIER_ANSWER_BYTES_MAX = 64 * KIB  # of any answer but the messages that wait
COURIER_ENVELOPE_BYTES_MAX = 24 * MIB  # the specification caps at 20 MB; larger ones are skipped
COURIER_INCOMING_BYTES_MAX = 64 * MIB  # taken in one fetch; the rest waits for the next one
COURIER_READ_BYTES_MAX = 256 * MIB  # read in one fetch, skipped ones included
COURIER_ACKNOWLEDGED_MAX = 500  # in one question
COURIER_TOKEN_CHARS_MAX = 4 * KIB  # challenges and session tokens have about 300
COURIER_WORDS_CHARS_MAX = 200  # of what a service says when it refuses
ARCHIVE_BATCH_MESSAGES = 200  # of an export: read, checked and written together
ARCHIVE_LINE_BYTES_MAX = 48 * MIB  # of an export: a message of 20 MB, twice escaped
ARCHIVE_REFUSED_LISTED_MAX = 20  # of the messages that an import left out; all are counted
PUSH_LISTENERS_MAX = 16  # own services with a push connection
PUSH_BACKOFF_SECONDS_MIN = 1  # after a push connection ended; doubles
PUSH_BACKOFF_SECONDS_MAX = 300  # a service that is back is noticed within five minutes
