"""The tables of the database as numbered, forward-only migrations.

Source: docs/architecture.md, "Where data lies". A migration that has been released is never edited:
a change is a new number. This module holds text only; `io/sqlcipher.py` applies it.
"""

from __future__ import annotations

from dms3.core.database import Migration

# Values up to 64 KB lie in rowid tables with a separate unique index: a WITHOUT ROWID table keeps
# the value in the search tree and wrote 10 times slower at 4 times the size.
_STATE_AND_BLOCKS = Migration(
    number=1,
    name="state and blocks",
    statements=(
        """
        CREATE TABLE state (
            id INTEGER PRIMARY KEY,
            tbl TEXT NOT NULL,
            key BLOB NOT NULL,
            value BLOB NOT NULL
        )
        """,
        "CREATE UNIQUE INDEX state_key ON state (tbl, key)",
        """
        CREATE TABLE event (
            id INTEGER PRIMARY KEY,
            topic TEXT NOT NULL,
            data TEXT NOT NULL,
            wall_us INTEGER NOT NULL
        )
        """,
        """
        CREATE TABLE pack (
            id INTEGER PRIMARY KEY,
            name BLOB NOT NULL UNIQUE,
            key BLOB NOT NULL
        )
        """,
        # A small block has `data`; a large one has its place: pack, byte offset, record length.
        """
        CREATE TABLE block (
            id INTEGER PRIMARY KEY,
            cid BLOB NOT NULL,
            size INTEGER NOT NULL,
            data BLOB,
            pack INTEGER REFERENCES pack (id),
            place INTEGER,
            length INTEGER,
            CHECK ((data IS NULL) = (pack IS NOT NULL))
        )
        """,
        "CREATE UNIQUE INDEX block_cid ON block (cid)",
        "CREATE INDEX block_place ON block (pack, place) WHERE pack IS NOT NULL",
    ),
)

# A document is one imported file. What it shows of itself lies here, its bytes are blocks, its
# words are in the index table of its container, which is made with the container (io/index.py).
_DOCUMENTS = Migration(
    number=2,
    name="spaces, containers and documents",
    statements=(
        """
        CREATE TABLE space (
            id INTEGER PRIMARY KEY,
            space BLOB NOT NULL UNIQUE,
            name TEXT NOT NULL,
            owner BLOB,
            created_us INTEGER NOT NULL
        )
        """,
        "CREATE UNIQUE INDEX space_name ON space (name) WHERE owner IS NULL",
        """
        CREATE TABLE container (
            id INTEGER PRIMARY KEY,
            space INTEGER NOT NULL REFERENCES space (id),
            kind TEXT NOT NULL,
            documents INTEGER NOT NULL,
            taken INTEGER NOT NULL,
            bytes_low INTEGER NOT NULL,
            bytes_high INTEGER NOT NULL,
            modified_low INTEGER NOT NULL,
            modified_high INTEGER NOT NULL,
            added_low INTEGER NOT NULL,
            added_high INTEGER NOT NULL
        )
        """,
        "CREATE INDEX container_kind ON container (space, kind)",
        # `container` is NULL for what is kept and not searched: imported folders, fetched files.
        # `counted` is 0 for those and for files that only came along with their folder.
        """
        CREATE TABLE document (
            id INTEGER PRIMARY KEY,
            space INTEGER NOT NULL REFERENCES space (id),
            container INTEGER REFERENCES container (id),
            source TEXT NOT NULL,
            name TEXT NOT NULL,
            title TEXT NOT NULL,
            kind TEXT NOT NULL,
            language TEXT NOT NULL,
            encoding TEXT NOT NULL,
            cid BLOB NOT NULL,
            bytes INTEGER NOT NULL,
            tree_bytes INTEGER NOT NULL,
            modified_us INTEGER NOT NULL,
            added_us INTEGER NOT NULL,
            stamp INTEGER NOT NULL,
            counted INTEGER NOT NULL,
            note TEXT NOT NULL
        )
        """,
        "CREATE UNIQUE INDEX document_source ON document (space, source)",
        "CREATE INDEX document_cid ON document (cid)",
        "CREATE INDEX document_container ON document (container)",
        # The text of a document whose bytes are not its text (HTML), for snippets.
        "CREATE TABLE document_text (document INTEGER PRIMARY KEY, text TEXT NOT NULL)",
        # Which blocks each document needs: what a space lets readers fetch, what a sweep keeps.
        """
        CREATE TABLE space_block (
            cid BLOB NOT NULL,
            space INTEGER NOT NULL,
            document INTEGER NOT NULL,
            PRIMARY KEY (cid, space, document)
        ) WITHOUT ROWID
        """,
        "CREATE INDEX space_block_document ON space_block (document)",
    ),
)

# Public blocks of anybody that this node holds for the overlay (dht/holding.py says until when).
_HELD = Migration(
    number=3,
    name="blocks held for the overlay",
    statements=("CREATE TABLE held_block (cid BLOB PRIMARY KEY) WITHOUT ROWID",),
)

# Messages of conversations, by hash. `shown`: a row of its own on a screen, not an edit, a reaction
# or a receipt. `line`: of one sender, whose messages stay in the sender's order; `place_ms`: where
# they stand among those of others (messaging/order.py has the rule). Counts of a person's messages
# are kept in `correspondence`, so nothing is counted.
_MESSAGES = Migration(
    number=4,
    name="messages",
    statements=(
        """
        CREATE TABLE correspondence (
            id INTEGER PRIMARY KEY,
            person TEXT NOT NULL UNIQUE,
            total INTEGER NOT NULL,
            unread INTEGER NOT NULL,
            last_ms INTEGER NOT NULL
        )
        """,
        "CREATE INDEX correspondence_last ON correspondence (last_ms, id)",
        """
        CREATE TABLE message (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            hash TEXT NOT NULL UNIQUE,
            correspondence INTEGER NOT NULL REFERENCES correspondence (id),
            mine INTEGER NOT NULL,
            sender TEXT NOT NULL,
            line TEXT NOT NULL,
            sent_ms INTEGER NOT NULL,
            order_ms INTEGER NOT NULL,
            place_ms INTEGER NOT NULL,
            type TEXT NOT NULL,
            shown INTEGER NOT NULL,
            reference TEXT NOT NULL,
            state TEXT NOT NULL,
            problem TEXT NOT NULL,
            retry_us INTEGER NOT NULL,
            information TEXT NOT NULL,
            text TEXT NOT NULL
        )
        """,
        """
        CREATE INDEX message_order
        ON message (correspondence, shown, place_ms, line, sent_ms, hash)
        """,
        "CREATE INDEX message_line ON message (correspondence, line, sent_ms, hash, place_ms)",
        "CREATE INDEX message_about ON message (reference) WHERE reference != ''",
        "CREATE INDEX message_arrived ON message (id) WHERE shown AND NOT mine",
        """
        CREATE INDEX message_unread ON message (correspondence)
        WHERE shown AND NOT mine AND state = 'received'
        """,
        "CREATE INDEX message_unsent ON message (id) WHERE state IN ('halted', 'queued')",
    ),
)

# What waits at this node as a delivery service (role `delivery`); never in a backup. `envelope` is
# the text as it came, with the postmark, without the delivery information: that is `information`,
# encrypted under a service key. `sender` is a keyed hash of the sender's name, `hash` what the
# envelope names the message by. `mail_seen`: envelopes that were picked up, so that no copy comes.
_MAILROOM = Migration(
    number=5,
    name="mailroom of a delivery service",
    statements=(
        "CREATE TABLE mail_key (id INTEGER PRIMARY KEY CHECK (id = 1), seed BLOB NOT NULL)",
        """
        CREATE TABLE mail_account (
            id INTEGER PRIMARY KEY,
            address TEXT NOT NULL UNIQUE,
            profile TEXT NOT NULL,
            earlier TEXT NOT NULL,
            rules TEXT NOT NULL,
            created_ms INTEGER NOT NULL,
            messages INTEGER NOT NULL,
            bytes INTEGER NOT NULL
        )
        """,
        """
        CREATE TABLE mail_message (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            account INTEGER NOT NULL REFERENCES mail_account (id),
            sender BLOB NOT NULL,
            hash BLOB NOT NULL,
            seen BLOB NOT NULL,
            arrived_ms INTEGER NOT NULL,
            bytes INTEGER NOT NULL,
            information BLOB NOT NULL,
            sealed TEXT NOT NULL,
            envelope TEXT NOT NULL
        )
        """,
        "CREATE UNIQUE INDEX mail_message_hash ON mail_message (account, sender, hash)",
        "CREATE INDEX mail_message_sender ON mail_message (account, sender, id)",
        "CREATE INDEX mail_message_account ON mail_message (account, id)",
        "CREATE INDEX mail_message_arrived ON mail_message (arrived_ms)",
        "CREATE TABLE mail_seen (seen BLOB PRIMARY KEY, until_ms INTEGER NOT NULL) WITHOUT ROWID",
        "CREATE INDEX mail_seen_until ON mail_seen (until_ms)",
        """
        CREATE TABLE mail_interval (
            start_s INTEGER PRIMARY KEY,
            messages INTEGER NOT NULL,
            bytes INTEGER NOT NULL
        )
        """,
    ),
)

# Conversation storage. `place_chunk`: what this node put into the overlay, so that it is put again
# before it expires. `locker*`: sealed objects of accounts of this node as a delivery service;
# `cloud_*`: the same as the dm3 reference stores it (contact names and containers are sealed by
# clients). `stored`: its place in a conversation, by date and arrival.
_PLACES = Migration(
    number=6,
    name="places of conversation storage",
    statements=(
        """
        CREATE TABLE place_chunk (
            name TEXT PRIMARY KEY,
            work INTEGER NOT NULL,
            sequence INTEGER NOT NULL,
            until_us INTEGER NOT NULL
        ) WITHOUT ROWID
        """,
        "CREATE INDEX place_chunk_until ON place_chunk (until_us)",
        """
        CREATE TABLE locker (
            id INTEGER PRIMARY KEY,
            account TEXT NOT NULL UNIQUE,
            objects INTEGER NOT NULL,
            bytes INTEGER NOT NULL
        )
        """,
        """
        CREATE TABLE locker_object (
            id INTEGER PRIMARY KEY,
            locker INTEGER NOT NULL REFERENCES locker (id),
            name TEXT NOT NULL,
            data BLOB NOT NULL
        )
        """,
        "CREATE UNIQUE INDEX locker_object_name ON locker_object (locker, name)",
        """
        CREATE TABLE cloud_conversation (
            id INTEGER PRIMARY KEY,
            locker INTEGER NOT NULL REFERENCES locker (id),
            contact TEXT NOT NULL,
            location TEXT,
            updated_ms INTEGER NOT NULL,
            hidden INTEGER NOT NULL,
            messages INTEGER NOT NULL
        )
        """,
        "CREATE UNIQUE INDEX cloud_conversation_contact ON cloud_conversation (locker, contact)",
        """
        CREATE INDEX cloud_conversation_updated ON cloud_conversation (locker, updated_ms, id)
        WHERE NOT hidden
        """,
        """
        CREATE TABLE cloud_message (
            id INTEGER PRIMARY KEY,
            locker INTEGER NOT NULL REFERENCES locker (id),
            conversation INTEGER NOT NULL REFERENCES cloud_conversation (id),
            key TEXT NOT NULL,
            created_ms INTEGER NOT NULL,
            halted INTEGER NOT NULL,
            container TEXT NOT NULL
        )
        """,
        "CREATE UNIQUE INDEX cloud_message_key ON cloud_message (locker, key)",
        "CREATE INDEX cloud_message_created ON cloud_message (conversation, created_ms, id)",
        "CREATE INDEX cloud_message_halted ON cloud_message (locker, created_ms) WHERE halted",
    ),
)

# What mail and lockers have together at this node as a delivery service, kept up with every change
# of a count; 200 bytes for each row, so that empty ones do not come for nothing.
_HELD_OF_ALL = Migration(
    number=7,
    name="what a delivery service holds of all",
    statements=(
        """
        CREATE TABLE delivery_held (
            id INTEGER PRIMARY KEY CHECK (id = 1),
            bytes INTEGER NOT NULL
        )
        """,
        """
        INSERT INTO delivery_held SELECT 1,
            (SELECT coalesce(sum(bytes + 200 * messages), 0) FROM mail_account) +
            (SELECT coalesce(sum(bytes + 200 * objects), 0) FROM locker)
        """,
        """
        CREATE TRIGGER mail_account_held AFTER UPDATE OF messages, bytes ON mail_account BEGIN
            UPDATE delivery_held SET bytes = bytes
                + new.bytes - old.bytes + 200 * (new.messages - old.messages);
        END
        """,
        """
        CREATE TRIGGER locker_held AFTER UPDATE OF objects, bytes ON locker BEGIN
            UPDATE delivery_held SET bytes = bytes
                + new.bytes - old.bytes + 200 * (new.objects - old.objects);
        END
        """,
    ),
)

# Installed apps and their files. `dna`: which app it is; `proof`: what it asked of a member, JSON.
_DAPPS = Migration(
    number=8,
    name="installed apps",
    statements=(
        """
        CREATE TABLE dapp (
            id INTEGER PRIMARY KEY,
            dna BLOB NOT NULL UNIQUE,
            name TEXT NOT NULL UNIQUE,
            proof TEXT NOT NULL,
            source TEXT NOT NULL,
            installed_us INTEGER NOT NULL,
            changed_us INTEGER NOT NULL
        )
        """,
        """
        CREATE TABLE dapp_file (
            id INTEGER PRIMARY KEY,
            dapp INTEGER NOT NULL REFERENCES dapp (id),
            path TEXT NOT NULL,
            data BLOB NOT NULL
        )
        """,
        "CREATE UNIQUE INDEX dapp_file_path ON dapp_file (dapp, path)",
    ),
)

MIGRATIONS: tuple[Migration, ...] = (
    _STATE_AND_BLOCKS,
    _DOCUMENTS,
    _HELD,
    _MESSAGES,
    _MAILROOM,
    _PLACES,
    _HELD_OF_ALL,
    _DAPPS,
)
