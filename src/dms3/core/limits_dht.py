"""Bounds of the dht: lookups, and what is held for others; `core/limits.py` passes them on.

Names end in their unit and `_MAX` (or `_MIN`).
"""

from dms3.core.units import KIB, MIB, SECOND_US

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
