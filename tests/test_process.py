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


def test_while_a_process_begins_hardly_anything_is_collected() -> None:
    code = "import gc; from stubserver.process import begin; begin(); print(gc.isenabled(), gc.get_threshold())"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said == "True (50000, 20, 100)\n"


def test_the_installed_command_begins_as_the_module_does() -> None:
    code = "import sys; from stubserver.__main__ import run; sys.argv = ['stubserver', '--version']; run()"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    module = subprocess.run(
        [sys.executable, "-m", "stubserver", "--version"], capture_output=True, text=True, check=True
    ).stdout
    assert said == module
    assert said.startswith("stubserver, version ")
