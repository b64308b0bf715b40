"""A process of our own is set up to serve, once."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import gc, sys
from stubserver.process import settle_down
kept = [[] for _ in range(1000)]
settle_down()
print(gc.get_freeze_count() > 1000, gc.get_threshold(), sys.getswitchinterval())
"""


def test_what_is_there_stays_and_threads_change_quickly() -> None:
    said = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True).stdout
    assert said == "True (50000, 20, 100) 0.0005\n"
