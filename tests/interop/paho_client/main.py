"""The paho-mqtt group: all its cases, in 3.1, 3.1.1 and 5.0."""

import delivery  # noqa: F401
import properties  # noqa: F401
import session  # noqa: F401
import will  # noqa: F401
from cases import run_group
from peer import end_all

run_group("paho", end_all)
