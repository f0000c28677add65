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
