"""Bounds of overlays that shard, repair and convict; `core/limits.py` passes them on.

Names end in their unit and `_MAX` (or `_MIN`).
"""

from dms3.core.units import SECOND_US

# neighbourhoods
NEIGHBOURS_MIN = 8  # q_min: the nearest live nodes that hold a key whatever their uptime
NEIGHBOURS_MAX = 40  # q_max: more than these do not hold it, however little they are there

# reconciling
GOSSIP_PERIOD_US = 5 * SECOND_US  # between two rounds with a partner while something differs
GOSSIP_REST_US = 60 * SECOND_US  # the same while nothing does
