"""Settings of all tests: Hypothesis without deadlines, its seed printed when a test fails."""

import os
import sys

from hypothesis import HealthCheck, settings

settings.register_profile(
    "dms3",
    deadline=None,  # two cores shared by several processes: time says nothing about one example
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("dms3")

# Libraries in Rust would walk the stack for each input they refuse: five times what refusing costs.
os.environ["RUST_BACKTRACE"] = "0"

# Nodes that tests start read what was compiled before, rather than 70,000 lines each.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
