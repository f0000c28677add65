"""Bounds of overlays that shard, repair and convict; `core/limits.py` passes them on.

Names end in their unit and `_MAX` (or `_MIN`).
"""

from dms3.core.units import KIB, SECOND_US

# neighbourhoods
NEIGHBOURS_MIN = 8  # q_min: the nearest live nodes that hold a key whatever their uptime
NEIGHBOURS_MAX = 40  # q_max: more than these do not hold it, however little they are there
NEIGHBOUR_CHECK_US = 10 * SECOND_US  # how often silent neighbours of an app are looked for...
NEIGHBOUR_QUIET_US = 45 * SECOND_US  # ...that were not heard for so long: the dead within a minute
SHARES_US = 60 * SECOND_US  # between two questions for the uptimes of the nodes of all tables...
SHARES_ASKED_MAX = 512  # ...of whom so many in one question

# published
ENTRY_WAIT_SECONDS_MAX = 60  # that `entry put` waits for receipts; a browser waits no longer either

# names of people behind agents, for lists on page and terminal
AGENTS_NAMED_MAX = 32  # looked up for one list, side by side; the rest show without a name
AGENTS_NAMED_PATIENCE_US = SECOND_US // 2  # for all of them: a list may not wait for the dead
AGENTS_NAMED_AGAIN_US = 60 * SECOND_US  # who was not found is asked for again so much later
AGENTS_KNOWN_MAX = 4_096  # kept in memory, 100 bytes each; then looked up anew

# what is held within a radius
HELD_BLOCKS_BYTES_MIN = 64 * 1_024 * KIB  # of the quota for blocks: the largest 32 of them
HELD_QUOTA_BYTES_MAX = 1 << 40  # the same at most: a terabyte, in blocks of 64 KiB 16 M rows
HELD_SHRUNK_MAX = 64  # values given up in one step when the quota is passed; the rest in the next
RADII_KNOWN_MAX = 4_096  # radii that others have told, 200 bytes each
RADIUS_TOLD_US = 600 * SECOND_US  # such a word counts for so long: a radius grows again, too
RADII_TOLD_MAX = 8  # content types in one answer: so many a node hardly knows

# reconciling
GOSSIP_PERIOD_US = 5 * SECOND_US  # between two rounds with a partner while something differs
GOSSIP_REST_US = 60 * SECOND_US  # the same while nothing does
RECONCILE_LISTED_MAX = 32  # items of a range from which on it is split and not listed
RECONCILE_LEAF_MAX = 256  # items of a range hashed and kept as one (wire): 40 bytes of memory each
RECONCILE_RANGES_MAX = 64  # ranges of one question: 6 ms of the answerer, 64 KB of its answer
RECONCILE_OPEN_MAX = 4_096  # unequal ranges of one comparison; others are found the next time
RECONCILE_QUESTIONS_MAX = 32  # of one comparison: a liar's sets never become equal
RECONCILE_ITEMS_MAX = 4_096  # missing and lacking items of one comparison: 64 questions for ops
RECONCILE_ANSWER_BYTES_MAX = 160 * 1_024  # of such a question, parts as deep as may be
RECONCILE_ANSWER_ITEMS_MAX = 10 * 1_024  # dag-cbor items of it: 7 for each of 1,024 parts
CHAIN_NAMES_MAX = 256  # ids of ops in one question
CHAIN_NAMES_BYTES_MAX = 16 * 1_024  # of a question with ids or ranges
RECONCILE_ASK_US = 10 * SECOND_US  # one question to a partner, dialling included
RECONCILE_JITTER_PERCENT = 40  # of a pause: partners that started together do not ask together
REPAIR_PAUSE_US = SECOND_US // 2  # between two comparisons while a neighbour is due
NEIGHBOUR_STALE_US = 600 * SECOND_US  # one that comes back after so long is compared with at once
LOCATED_SLICE_ROWS = 256  # actions or ops read at once to make the tree of what is held: 8 ms
LOCATED_KNOWN_MAX = (
    131_072  # actions known meanwhile to have a verdict, 13 MB; others are looked up
)
LOCATED_PAUSE_US = SECOND_US // 100  # between two slices
FETCHES_PER_PARTNER_MAX = 16  # questions for ops by their ids, of CHAIN_OPS_MAX each
ASIDE_MAX = 4_096  # ops of one overlay that were brought and not taken, and are not for a while...
ASIDE_ALL_MAX = 16_384  # ...and of all, 4 MB: the overlay that has most loses first
BARRED_MAX = 16_384  # ops of blocked agents of one overlay that are not brought again...
BARRED_ALL_MAX = 65_536  # ...and of all, 100 bytes each...
BARRED_KEPT_US = 6 * 3_600 * SECOND_US  # ...for so long, or until somebody is pardoned
FAR_KEPT_US = 600 * SECOND_US  # what does not lie near is aside so long: neighbours change
TOLD_OPEN_MAX = 32  # partners from whom ops are brought because they said that they hold them
TOLD_OF_ONE_MAX = 2  # such bringings from one partner at once
PASS_US = 4 * SECOND_US  # activity that came in this time is passed on together: within a period
PASSED_MAX = 1_024  # ops of one overlay that came in it; of more, comparing tells
PASS_TRIES_MAX = 3  # holders that are tried in turn, and rounds in which a verdict is waited for
DROP_LOOKED_MAX = 128  # ops of one overlay looked at in one period whether they still lie near
DROP_KEPT_MAX = 4_096  # ops of one overlay that are known to lie far
DROP_PERIODS = 2  # an op has lain far for so many periods before anybody is asked
DOUBTED_MAX = 1_024  # entries of dropped ops that may be of no use any more
DOUBT_SLICE_ROWS = 64  # actions read at once to find out: 5 ms
SHARED_DEPTH_MAX = 6  # steps of four bits: finer parts of the space have few nodes in any overlay
SHARED_RANGES_MAX = 1_024  # that two nodes share; of more, finer ones are left to others
SHARED_VISITS_MAX = 4_096  # ranges looked at for all neighbours, half a second; then coarser ones

# membranes
ADMINS_MAX = 16  # keys that one membrane names: a board, not an electorate
INVITATION_SIGNERS_MAX = 8  # signatures of one invitation: with their keys 1.6 KiB of its text
INVITATION_LINKS_MAX = 8  # invited by who was invited by ...: one signature each to verify
INVITATION_LIFE_US_MAX = (
    3_660 * 24 * 3_600 * SECOND_US
)  # ten years: a lost key may not invite for ever
MEMBERSHIP_LIFE_US_MAX = (
    30 * 24 * 3_600 * SECOND_US
)  # of a proof by seed or work; its member makes new ones
MEMBERSHIP_WORK_BITS_MAX = 24  # 16 million hashes each month; a node makes them as it starts
PRESENCE_CLOSED_BYTES_MAX = 6_144  # a presence with certificate and proof of membership
MEMBERS_ADMITTED_MAX = 1_024  # nodes that have proven themselves on an open connection
NETWORKS_MAX = 32  # closed overlays that one node is in: half of OVERLAYS_MAX
NETWORK_BYTES_MAX = 4_096  # description of a network: a name, a membrane with its admins
NETWORK_INVITATION_BYTES_MAX = 12_288  # a description, a proof, addresses of a few members
NETWORK_NODES_MAX = 4  # members that an invitation names, to begin with
NETWORK_NAME_CHARS_MAX = 64  # it stands in tables and tabs
IMMUNE_APPS_MAX = 4  # apps whose warrants count for one network: each has to run with its members
NETWORK_RENEW_US = 6 * 3_600 * SECOND_US  # how often proofs and certificates are made anew

# warrants
WARRANT_NEWS_BYTES_MAX = 48 * KIB  # a warrant and the op that it accuses; larger ops are fetched
CONVICTIONS_MAX = 4_096  # of one app at one node, of 20 KB each at most; then the oldest goes
PARDONS_KEPT_MAX = 16  # evidence against one agent that a person has looked at and let pass
WARRANT_WAIT_US_MAX = 2 * SECOND_US  # who finds the same at once need not all write: spread so far
WARRANTS_WRITTEN_MAX = 16  # by this node in one app within an hour: each is for ever in its chain
WARRANT_RETRY_US = 60 * SECOND_US  # when the own chain cannot be written now...
WARRANT_TRIES_MAX = 8  # ...so often
WARRANTS_OF_ONE_MAX = 32  # of one issuer within an hour, heard by gossip; more are not looked at
WARRANTS_OPEN_MAX = 64  # heard by gossip, and judged now
WARRANTS_WAITING_MAX = 256  # heard by gossip, and not judged yet: eight seconds of a flood...
WARRANTS_OF_PEER_MAX = 32  # ...of them brought by one node: the keys that it can make are endless
WARRANTS_OPEN_OF_PEER_MAX = 16  # judged now, brought by one node
WARRANT_ANSWER_US = 2 * SECOND_US  # gossip is told what became of one; later it is told again
VOICES_MAX = 32  # who warns of one agent, as far as it is kept: twice the keys of a membrane
VOICES_TOLD_MAX = 16  # warrants of one agent by others that are handed on: as many as may count
VOICES_ALL_MAX = 4_096  # of one app, 100 bytes each; those that count for no network go first
VOICE_ROOTS_MAX = 4  # people who are behind one agent, and say so too
PEOPLE_MAX = 2 * VOICES_ALL_MAX + 64  # agents of one app whose people are known, 150 bytes each
VOICE_ASKS_MAX = 64  # agents whose people are being looked up
RECALLS_OPEN_MAX = 4  # people against whom warrants are looked up at once...
RECALLS_KEPT_MAX = 1_024  # ...who wait for that, or were looked up lately...
RECALL_US = 6 * 3_600 * SECOND_US  # ...and not again before that...
RECALL_AGENTS_MAX = 16  # ...so many agents of each: a few devices and their keys of before
ISSUERS_KEPT_MAX = 1_024  # whose pace is remembered
LEANING_STEPS_MAX = 64  # actions before one that are looked at: whether this node judged them
ACCUSED_KEPT_MAX = 1_024  # verdicts on actions that were judged for a warrant alone
ACCUSED_OPEN_MAX = 256  # accused actions that wait for what judging them needs
PUBLISHERS_KEPT_MAX = 4_096  # who published what is not judged yet, 200 bytes each
SHUNNED_MAX = 256  # nodes of one app that are not asked any more

# gossip: bodies that every node of an overlay hears once
GOSSIP_BODY_BYTES_MAX = 64 * 1_024  # of one body; what is larger is fetched by whoever heard of it
GOSSIP_LINKS_MIN = 8  # partners chosen per overlay; that a fifth of them idles matters little
GOSSIP_GUESTS_MAX = 24  # partners that chose this node: three times what is to be expected
GOSSIP_DIALS_MAX = 8  # at once
GOSSIP_CONNECTIONS_MAX = 64  # dialled for gossip, of all overlays: an eighth of CONNECTIONS_MAX
GOSSIP_DIAL_US = 3 * SECOND_US  # a dead address is silent: another partner is as good
GOSSIP_LOOK_US = 15 * SECOND_US  # between two looks at which overlays there are, and who is there
GOSSIP_SOON_US = SECOND_US  # at the earliest after the last look, when a partner has gone
GOSSIP_STRANGE_US_MAX = 600 * SECOND_US  # between two looks because peers name unknown overlays
GOSSIP_SEARCH_US_MAX = 3_600 * SECOND_US  # between two searches for members while few are known
GOSSIP_SEARCHES_MAX = 3  # places looked up by one: in the other half, quarter and eighth
GOSSIP_FULL_US = 60 * SECOND_US  # who had no room for a partner is not chosen for so long
GOSSIP_BATCH_US = SECOND_US * 3 // 20  # ids that come in this time are told together
GOSSIP_NEWS_MAX = 512  # ids of one message: 8 KB
GOSSIP_WANT_MAX = 64  # bodies of one question
GOSSIP_ASKS_MAX = 2  # questions for bodies to one peer at once: one is answered, one is on its way
GOSSIP_ASK_US = SECOND_US  # then another partner is asked
GOSSIP_SILENCES_MAX = 6  # for one body: so many questions get no answer, then it is compared for
GOSSIP_ANSWER_BYTES_MAX = 256 * 1_024  # bodies of one answer; what does not fit is asked for again
GOSSIP_OFFERS_MAX = 4_096  # ids that one peer has told and that are still to be asked for
GOSSIP_OUTBOX_MAX = 4_096  # ids that one peer is still to be told
GOSSIP_JUDGING_MAX = 512  # bodies of one topic asked for or judged: a slow judge slows the asking
GOSSIP_KEEP_US = 120 * SECOND_US  # a body is given out for so long: two slow rounds of comparing
GOSSIP_KEPT_MAX = 16_384  # bodies of one overlay and topic...
GOSSIP_KEPT_BYTES_MAX = 4 * 1_024 * 1_024  # ...and their bytes
GOSSIP_KEPT_ALL_BYTES_MAX = 32 * 1_024 * 1_024  # of all; who has most loses first
GOSSIP_SETTLED_US = 10 * SECOND_US  # a body that is younger and has to go is counted as dropped
GOSSIP_SEEN_US = 600 * SECOND_US  # an id is known for longer than anybody gives out its body...
GOSSIP_SEEN_MAX = 65_536  # ...and four times as many of them, of one overlay and topic, 8 MB
GOSSIP_SEEN_ALL_MAX = 262_144  # of all
GOSSIP_RECENT_MAX = 4_096  # newest ids that two partners compare: 64 KB
GOSSIP_COST_US = SECOND_US // 4_000  # one id told or asked for by one peer...
GOSSIP_BURST_US = 4 * SECOND_US  # ...after so many at once as take this time
GOSSIP_COMPARE_WEIGHT = 64  # what a comparison counts, in ids, beside those of its answer
GOSSIP_WEIGHED_BYTES = 256  # of bodies given count as one id: a burst is all that a topic keeps
GOSSIP_TOPIC_CHARS_MAX = 16  # as the name of a content type
GOSSIP_UNKNOWN_MAX = 64  # spreads that wait to hear whether this node is in their overlay

# circuits: what a reachable node passes on between others, and what an unreachable one asks for
CIRCUIT_MESSAGE_BYTES_MAX = 4_096  # one message about a circuit; libp2p's own bound
CIRCUIT_MESSAGE_US_MAX = 10 * SECOND_US  # a question stands for so long, both hops together
CIRCUIT_US_MAX = 2 * 3_600 * SECOND_US  # one circuit; libp2p's default of 2 min ends long fetches
CIRCUIT_BYTES_MAX = 256 * 1_024 * KIB  # of one circuit, each way: a large document, no film archive
CIRCUIT_RATE_BYTES_MAX = 4 * 1_024 * KIB  # a second of all circuits: a third of a 100 Mbit/s line
CIRCUIT_BURST_US = SECOND_US // 4  # so much of a second's bytes may go at once
CIRCUITS_PASSED_MAX = 128  # at once: with full first windows 64 MB wait here
CIRCUITS_OF_ONE_MAX = 16  # that begin or end at one node, at one hop; libp2p's default
RESERVATIONS_MAX = 128  # each is a connection that is kept
RESERVATIONS_PER_HOST_MAX = 8  # from one IP address, loopback exempt; libp2p's default
RESERVATION_US = 3_600 * SECOND_US  # the specification's suggestion; renewed at half of it
RESERVATION_US_MIN = 120 * SECOND_US  # a hop whose clock is wrong is not asked again at once
RESERVATION_US_MAX = 24 * 3_600 * SECOND_US  # nor believed for ever
HOP_QUESTIONS_BURST_MAX = 16  # questions of one peer to a hop at once...
HOP_QUESTIONS_LEAK_US = SECOND_US  # ...and one more in this time
HOPS_MAX = 2  # at which an unreachable node has a place: one may go
HOPS_KEPT_MAX = 64  # connected nodes that offer to be hops, as far as remembered
HOP_RETRY_US = 300 * SECOND_US  # a hop that refused is asked again
HOP_ADDRESSES_MAX = 2  # told of one hop: IPv4 and IPv6
STRAIGHTEN_US_MIN = (
    5 * SECOND_US
)  # a circuit is so old when a direct way is tried first; doubles...
STRAIGHTEN_US_MAX = 1_280 * SECOND_US  # ...up to here: eight times doubled
REACHED_WAIT_US = 30 * SECOND_US  # nobody came for so long: this node cannot be reached

# world model: what is known and heard of peers
ABSENCE_BACK_US_MAX = 24 * 3_600 * SECOND_US  # who was away and is back was away so long at most
LOOK_US = 600 * SECOND_US  # how often it is written down who is there: a kill costs no more
FAULT_WAIT_US = 15 * SECOND_US  # a failure is believed after a probe's time and a little more
FAULT_PROBES_MAX = 8  # connected peers that are probed meanwhile: they say whether we are there
FAULT_JUDGED_MAX = 256  # failures that are watched at once; more are nobody's
HEARSAY_US = 300 * SECOND_US  # one partner is asked for its words that often
HEARSAY_WORDS_MAX = 32  # of one answer: half of them about nodes near who asks
HEARSAY_REPORTERS_MIN = 3  # so that one liar is never the middle one
HEARSAY_REPORTERS_MAX = 15  # whose words about one peer are kept; the oldest goes
HEARSAY_SUBJECTS_MAX = 4_096  # peers that words are kept about: as many as are known
HEARSAY_LIFE_US = 24 * 3_600 * SECOND_US  # a word of yesterday says nothing of today
HEARSAY_WEIGHT_MAX_PPM = 500_000  # what all others say counts half at most
HEARSAY_SURE_MIN_PPM = 20_000  # less sure than this, as 42 minutes of looking make it, is no word
PEER_ID_BYTES_MAX = 64  # ours have 38
PARTNERS_MAX = 1_024  # candidates of one draw
PRESENCE_TOLD_US = 2 * SECOND_US  # between two looks whether the own presence is news
PRESENCE_NEWS_US = 600 * SECOND_US  # a presence that is older is passed on no more
PRESENCE_HEARD_COST_US = 10 * SECOND_US  # a presence passed on in one overlay...
PRESENCE_HEARD_BURST_US = 2_560 * SECOND_US  # ...after so many at once as three small overlays have
