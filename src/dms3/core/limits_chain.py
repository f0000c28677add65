"""Bounds of source chains, rules and apps; `core/limits.py` passes them on.

Names end in their unit and `_MAX` (or `_MIN`).
"""

from dms3.core.units import KIB, MIB, SECOND_US

# chain
ENTRY_BYTES_MAX = 1 * MIB  # a larger value is a document: the entry names its CID
ENTRY_DEPTH_MAX = 32  # lists and maps in one another: forms and trees of people have below ten
ENTRY_ITEMS_MAX = 64 * KIB  # numbers, texts, lists of one entry: 27 ms to decode
SEALED_BYTES_MAX = ENTRY_BYTES_MAX + KIB  # a private entry, filled up and with its tag
ACTION_BYTES_MAX = 8 * KIB  # keys, dates, a tag of 1,000 bytes, a proof of 4 KiB
TAG_BYTES_MAX = 1_000  # as Holochain has it
MEMBRANE_PROOF_BYTES_MAX = 4 * KIB  # an invitation with a few signatures
EVIDENCE_BYTES_MAX = 18 * KIB  # of a warrant: two signed actions of the greatest size
WARRANT_BYTES_MAX = 19 * KIB  # an action that carries such evidence
DETAIL_CHARS_MAX = 512  # why something was refused, in words for people
OPS_PER_ACTION_MAX = 6  # record, entry, activity, and two or three that it refers to
BUNDLE_ACTIONS_MAX = 256  # one transaction of the database
DNA_BYTES_MAX = 1 * MIB  # rules and manifest; forty lines have 2 KB
DNA_NAME_CHARS_MAX = 64  # of an app, an entry kind, a link kind, a function
DNA_KINDS_MAX = 64  # entry kinds of one app, and as many link kinds
PROPERTIES_BYTES_MAX = 64 * KIB  # properties of a DNA, and its membrane
DAPP_MANIFEST_BYTES_MAX = 128 * KIB  # a page of TOML; properties are the most of it
TITLE_CHARS_MAX = 120  # of an app, on one line
DESCRIPTION_CHARS_MAX = 2_000  # of an app, a few paragraphs
FUEL_MAX = 2_000_000_000  # of one judging: about a quarter of a second of one core
MEMORY_BYTES_MAX = 256 * MIB  # of one judging, Python and its data included
SESSION_WINDOW_US_MIN = SECOND_US  # of a countersigning: shorter ones fail for the way alone
SESSION_WINDOW_US_MAX = 24 * 3_600 * SECOND_US  # a day: chains of who has signed wait for it
CERTIFICATE_AGENT_BYTES_MAX = 512  # three keys, a device, a signature
REVOCATION_BYTES_MAX = KIB  # the certificate that is taken back, and a signature
RECEIPT_BYTES_MAX = 512  # an overlay, an op, a peer, a signature
WHEREABOUTS_BYTES_MAX = KIB  # two keys, eight addresses, a signature
WHEREABOUTS_LIFE_US = 2 * 3_600 * SECOND_US  # an agent that has gone is not asked for longer
WHEREABOUTS_TOTAL_BYTES_MAX = 16 * MIB  # held for others by one node: some 20,000 agents
PREFLIGHT_BYTES_MAX = KIB  # what all parties of a session agree on: keys, hashes, a window
ACCEPTANCE_BYTES_MAX = 512  # a key, a place in a chain, a signature
SESSION_BYTES_MAX = 8 * KIB  # a preflight and COUNTERSIGNERS_MAX acceptances
CHAIN_QUESTION_BYTES_MAX = 2 * MIB  # ops of one publish together: one private entry fits
CHAIN_ANSWER_BYTES_MAX = 2 * MIB  # ops of one answer; the asker reads on behind the last
CHAIN_SMALL_BYTES_MAX = 4 * KIB  # a question without ops
CHAIN_OPS_MAX = 64  # ops of one message: to read and verify them takes 10 ms of the loop
CHAIN_FETCH_MAX = 256  # ops of one answer: activity is headers alone
FETCH_PASSED_MAX = 256  # ops that are not asked for, between two that are: then the page ends
CHAIN_MESSAGE_ITEMS_MAX = 4 * KIB  # dag-cbor items of one message: 256 ops have 2,000
AGENT_BODY_BYTES_MAX = 256 * KIB  # what one agent sends another in one question
AGENT_MESSAGE_BYTES_MAX = ENTRY_BYTES_MAX + 16 * KIB  # a session's entry with its signatures
CAPABILITY_BYTES_MAX = 2 * KIB  # the proof that a function may be called
COUNTERSIGNERS_MIN = 2  # parties of one session: with oneself there is nothing to agree
COUNTERSIGNERS_MAX = 8  # as Holochain has it: all must be awake within one window
RECEIPT_UPTIME = 8  # r: the sum of uptimes of who holds an op; P(nobody is on) <= e**-8
PUBLISH_ALONE_US = 15 * SECOND_US  # as long as nobody else has the app: one look for all that waits
PUBLISH_AT_ONCE_MAX = 4  # questions of one app, in a small overlay; behind them...
PUBLISH_GATHER_US = SECOND_US // 5  # ...what is written in this time travels in one
PUBLISH_RETRY_US_MIN = 5 * SECOND_US  # ops that too few hold: twice as late, PUBLISH_RETRY_US_MAX

# uptime of peers
UPTIME_NEWCOMER_PPM = 200_000  # a fifth, in millionths: forty newcomers are as good as eight
UPTIME_HALF_US = 24 * 3_600 * SECOND_US  # what was seen a day ago counts half
ABSENCE_US_MAX = 3_600 * SECOND_US  # a dial that fails speaks of an hour at most

# own chains
CHAINS_MAX = 1_024  # chains of one person kept at a node, those of other devices counted
COMMITS_WAITING_MAX = 256  # bundles of one chain that wait for their turn; then `limit_reached`
WRITE_TRIES_MAX = 3  # a bundle is judged again when the head moved meanwhile
COMMIT_BYTES_MAX = 4 * MIB  # entries of one bundle: one transaction of the database
ENTRY_PART_BYTES_MAX = 60 * KIB  # of an entry in one row of the database, which holds 64
QUERY_RECORDS_MAX = 1_000  # of one answer; the asker reads on behind the last
PUBLISH_NODES_MAX = 40  # asked to hold one op: as many as one question may go to
PUBLISH_PARALLEL_MAX = 16  # questions of a publishing under way at once
CHAIN_ASK_US_MIN = 5 * SECOND_US  # between two questions for the head of an own chain...
CHAIN_ASK_US_MAX = 300 * SECOND_US  # ...and after many
TAKEN_UP_MAX = 256  # actions of an own chain that are brought and written at once
BROUGHT_AT_ONCE_MAX = 16  # own records that are brought side by side
AGENTS_MAX = 256  # keys of one person in one app that are looked at, of all devices
PUBLISH_ACTIONS_MAX = 4_096  # actions that wait in memory to be published; the rest on disk

# CAR files and the IPFS gateway
CAR_HEADER_BYTES_MAX = 64 * KIB  # a version and 1,000 roots of 41 bytes
CAR_ROOTS_MAX = 1_000  # each becomes a document or a folder
CAR_BLOCKS_MAX = 256 * KIB  # blocks of one CAR that is read or written: 64 GiB of full chunks
CAR_FILES_MAX = 100_000  # files and folders in one CAR, each place counted: as a public space
DAG_CBOR_ITEMS_MAX = 256 * KIB  # items of one block in which links are looked for
GATEWAY_ANSWERS_MAX = 64  # answers with content under way; each holds one piece in memory...
GATEWAY_ANSWERS_PER_HOST_MAX = 16  # ...of one address: two browsers with six connections each
GATEWAY_PIECE_BYTES = 1 * MIB  # read at once: four full chunks
GATEWAY_PIECE_SECONDS_MAX = 30  # for a client to take one piece; then its place is given away
GATEWAY_BYTES_PER_SECOND = 32 * MIB  # of one answer to another machine...
GATEWAY_BURST_BYTES = 16 * MIB  # ...after so much at once
GATEWAY_CAR_BYTES_MAX = 4 * 1024 * MIB  # of one CAR; larger DAGs are taken folder by folder
GATEWAY_LISTED_MAX = 10_000  # names of a folder shown; a CAR has them all
GATEWAY_FIELDS_MAX = 32  # parameters in a query; the specification has eight
GATEWAY_ACCEPT_ITEMS_MAX = 32  # media types looked at in one Accept header; browsers send eight
CID_PATH_BYTES_MAX = 16 * KIB  # 64 names of 255 bytes

# agents ask agents
AGENT_QUESTION_LIFE_US = 120 * SECOND_US  # clocks may differ by as much, and links are slow
AGENT_QUESTION_COST_US = SECOND_US // 50  # of one agent: 50 questions a second...
AGENT_QUESTIONS_BURST_US = 4 * SECOND_US  # ...after 200 at once
AGENT_PEER_COST_US = SECOND_US // 100  # of one peer, whatever keys sign: 100 a second...
AGENT_PEER_BURST_US = 4 * SECOND_US  # ...after 400 at once: nobody fills NONCES_KEPT_MAX alone
AGENT_QUESTIONS_OPEN_MAX = 32  # of one agent that the app has not answered yet
AGENT_SENDERS_MAX = 4_096  # agents whose pace is remembered; then those that just came wait
NONCES_KEPT_MAX = 64 * KIB  # questions of two minutes, 100 bytes each
MEMBER_KEPT_US = 300 * SECOND_US  # an agent that was let in is looked up again after this
MEMBERS_KEPT_MAX = 4_096  # agents that were let in, of 0.5 KB each
MEMBER_LOOKUPS_MAX = 16  # of agents that ask for the first time, at once
SESSION_ENTRY_BYTES_MAX = 40 * KIB  # to be countersigned: kept in one row with all signatures
SESSION_SETTLE_US = 10 * SECOND_US  # before and behind the end of a window: clocks differ
SESSION_GRACE_US = 600 * SECOND_US  # a chain waits no longer for those who cannot be asked
SESSION_CARRY_US_MAX = 30 * 24 * 3_600 * SECOND_US  # a set is brought to a party that is off
SESSION_AGAIN_US_MIN = SECOND_US // 2  # a party that cannot be reached is asked again...
SESSION_AGAIN_US_MAX = 300 * SECOND_US  # ...ever more seldom
SESSION_WAITING_US = 60 * SECOND_US  # its person decides, and it will say so
SESSION_ACTIVITY_MAX = 1_000  # actions of a party looked through at once for a lost session
SESSION_COST_US = SECOND_US // 20  # steps of one agent or session: 20 a second...
SESSION_BURST_US = 4 * SECOND_US  # ...after 80 at once
SESSIONS_OPEN_MAX = 256  # that go on at one node, of 60 KB each at most...
SESSIONS_OF_ONE_MAX = 16  # ...and proposed by one agent
SESSIONS_ENDED_MAX = 256  # that are still shown
CALL_GRANTS_MAX = 4_096  # to call functions, given by one device, of 1.2 KB each
WHEREABOUTS_KEPT_MAX = 4_096  # agents whose node is remembered, of 0.5 KB each
WHEREABOUTS_AGAIN_US_MIN = SECOND_US  # own ones that too few hold are put again...
WHEREABOUTS_AGAIN_US_MAX = 600 * SECOND_US  # ...ever more seldom: alone, there is nobody to hold

# overlays of apps
OVERLAYS_MAX = 64  # that one node is in: each has a table and asks a few questions an hour
RELAYED_NODES_MAX = 40  # asked by one question of another machine: what a wide lookup finds
RELAYED_BYTES_MAX = 2 * MIB + 64 * KIB  # of such a question: an entry, its action, and their like
MEETING_US_MIN = 1 * SECOND_US  # between two looks for members of an app: doubled each time...
MEETING_US_MAX = 1_800 * SECOND_US  # ...up to half an hour
MEETING_LIFE_US = 6 * 3_600 * SECOND_US  # of a node's word that it is in an overlay

# apps of a node
DAPPS_MAX = 64  # installed at once; each joins an overlay
DAPP_FILES_MAX = 256  # of one app; a page with its pictures
DAPP_FILE_BYTES_MAX = 8 * MIB  # one picture or font of a page
DAPP_BYTES_MAX = 32 * MIB  # all files of one app; larger things are documents
DAPP_PATH_BYTES_MAX = 512  # "page/" and a few folders
FUNCTIONS_BYTES_MAX = 512 * KIB  # the text of functions.py: ten thousand lines
DAPP_NAME_CHARS_MAX = 32  # of a name that is a part of an address
SIGNATURE_CHARS_MAX = 2_000  # of a function, read to make a form of it: a screen of parameters
FORM_PARAMETERS_MAX = 24  # fields of such a form; with more of them JSON is easier
CALLS_AT_ONCE_MAX = 64  # calls of functions under way, of all apps and for all callers
CALLS_OF_APP_MAX = 48  # of these by one app: whatever it does, others have room
CALLS_NESTED_MAX = 4  # a function that calls one that calls one...
HOST_CALLS_MAX = 1_000  # of one function call, as reads of a rule
CALL_SECONDS_MAX = 60  # one call of a function with all that it waits for
SIGNALS_PER_CALL_MAX = 64  # of one function call; each is an event that is stored
SIGNAL_BYTES_MAX = 16 * KIB  # one signal, as JSON
DAPP_LOGINS_MAX = 64  # links, browsers and programs that are let in to pages; the oldest goes first
ENTRIES_LISTED_MAX = 1_000  # links or actions in one answer to a person
DISCOVERED_MAX = 100  # apps listed by one search
DAPP_LISTING_BYTES_MAX = 16 * KIB  # what is published of an app beside its folder

# the sandbox
RUNNER_BYTES_MAX = 64 * MIB  # of the runner as WASM, and as native code: 19 and 38 MB
RUNNER_KEPT_MAX = 5  # runners kept in the cache, 57 MB each: older nodes use theirs
RUNNER_BUILD_SECONDS_MAX = 1_800  # building and compiling on a slow machine; a minute on a fast one
WASM_STACK_BYTES_MAX = 512 * KIB  # of the host's stack; Python's own bounds come first
WASM_TABLE_ITEMS_MAX = 32 * KIB  # functions that a module can call by number: Python has 9,000
WASM_FUEL_FACTOR = 10  # a loop of bare WASM takes so much longer than Python for equal fuel
WASM_MODULES_MAX = 64  # core instances, memories and tables of one runner: it has about 20
SANDBOX_INSTANCES_MAX = 8  # programs kept ready in one worker process
SANDBOX_CODES_MAX = 64  # programs whose compiled text is kept in one worker process
SANDBOX_TIDY_RUNS = 64  # runs of an instance between two tidyings of its memory
SANDBOX_RUNS_MAX = 10_000  # runs of an instance before a new one takes its place
SANDBOX_MAKER_BYTES_MAX = 256 * MIB  # of the copy that reads texts: one of 1 MiB takes half
SANDBOX_LOAD_FUEL_MAX = 8_000_000_000  # to read a program of 1 MiB: a second of one core
SANDBOX_MESSAGE_BYTES_MAX = 4 * MIB  # a job, an answer, a question: entries of 1 MiB in them
SANDBOX_WAITING_MAX = 1_024  # judgings and calls that wait for a worker
SANDBOX_BATCH_MAX = 32  # judgings sent to a worker in one message: 10 ms of work
SANDBOX_CALLERS_MAX = 4  # worker processes for calls, which may all wait for the network
SANDBOX_NESTED_MAX = 12  # worker processes, with those for calls that other calls wait for
SANDBOX_IDLE_SECONDS_MAX = 60  # a second caller that has nothing to do is ended
SANDBOX_JOB_SECONDS_MAX = 30  # a message of judgings: fuel ends them earlier on every machine
SANDBOX_START_SECONDS_MAX = 60  # until a worker has read the runner, on a busy machine

# judging and holding everybody's ops
IN_HAND_ACTIONS_MAX = 256  # that are judged and not written yet; one more is written first
IN_HAND_BYTES_MAX = 4 * MIB  # of them all, with their entries
IN_HAND_US_MAX = SECOND_US  # then it waits, whatever for, and is written: as PUBLISH_ANSWER_US
PENDING_ACTIONS_MAX = 4_096  # of one overlay that wait for a verdict; one more is refused
PENDING_PER_PEER_MAX = 1_024  # of them brought by one peer
PENDING_PER_AUTHOR_MAX = 512  # of them by one author: two full bundles
PENDING_BYTES_MAX = 256 * MIB  # of them all, with their entries
PENDING_OLD_US = 600 * SECOND_US  # who has waited so long in vain gives way when there is no room
PENDING_US_MAX = 24 * 3_600 * SECOND_US  # for what nobody has; then it is abandoned
PARKED_US_MAX = 3_600 * SECOND_US  # ahead of this node's clock; what is farther is not taken
ABANDONED_US = 3_600 * SECOND_US  # then what was given up may be judged once more
JUDGES_AT_ONCE_MAX = 32  # questions to the sandbox; the others wait in line
JUDGE_TRIES_MAX = 8  # of a sandbox that does not answer
JUDGE_RETRY_US = SECOND_US // 2  # doubled each time: two minutes in all
JUDGE_QUESTIONS_MAX = 1_000  # things that the rules read for one action
JUDGE_FUEL_MAX = 4 * FUEL_MAX  # of one action in all rounds
JUDGED_ACTIVITY_MAX = 1_000  # actions of one agent that a rule reads at once
FUEL_LOST_AUTHOR_MAX = 10 * FUEL_MAX  # in an hour, on what was given up: about three seconds
FUEL_LOST_PEER_MAX = 4 * FUEL_LOST_AUTHOR_MAX  # who brings the ops of many authors
CHARGED_MAX = 4_096  # authors and peers whose cost is known
SIGNATURES_KNOWN_MAX = 8_192  # signatures of actions found good: each costs about 0.1 ms
ACTIONS_DECODED_MAX = 512  # actions that are remembered by their bytes: 2 KB each, seldom 20
OP_IDS_KNOWN_MAX = 4_096  # names of ops that are remembered: 300 bytes each
CID_TEXTS_KNOWN_MAX = 4_096  # texts of hashes that are remembered: 200 bytes each
ACTIONS_READ_MAX = 1_024  # decoded rows of actions that are remembered: about 2 KB each
BROUGHT_BYTES_MAX = 16 * MIB  # actions and entries of others remembered for judging
BRING_FIRST_US = SECOND_US // 4  # a missing action is often on its way
BRING_US_MIN = 1 * SECOND_US  # between attempts to fetch one: doubled each time...
BRING_US_MAX = 300 * SECOND_US  # ...up to five minutes
BRING_HOLDERS = 3  # asked first for something that is missing; then all of the neighbourhood
BORROWED_MAX = 1_024  # missing actions that holders do not agree on, judged without being held
BRINGS_AT_ONCE_MAX = 64  # fetches of missing things under way
PUBLISH_ANSWER_US = 1 * SECOND_US  # a publish is answered, whatever is still judged
PUBLISHES_OF_ONE_MAX = 32  # of one peer: twice what an honest one has under way
PUBLISHES_OPEN_MAX = 256  # publishes of peers whose answer waits for verdicts
NOTED_PEERS_MAX = 16  # who is told when one pending action is decided
CHAIN_ASK_COST_US = SECOND_US // 200  # one peer: 200 questions about ops each second...
CHAIN_ASK_BURST_US = 4 * SECOND_US  # ...after a burst of 800: a home that is restored
READ_AGREE = 2  # holders that say that an op is valid: then it is believed unjudged
READ_HOLDERS = 5  # asked when something is read...
READ_ENOUGH = 3  # ...until so many have answered
READS_OPEN_MAX = 1_024  # reads of this node under way
READ_FRESH_US = 60 * SECOND_US  # a holder that looked asks nobody again: changes are told to it
READ_LOOKS_MAX = 16_384  # remembered, some 300 bytes each
READ_JUDGED_MAX = 64  # things of one answer that are judged because few holders name them
READ_PAGES_MAX = 64  # pages of one read
READ_OFFERS_MAX = 8  # ops offered to one holder that a read has found to miss them
