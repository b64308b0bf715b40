"""For all tests: no example fails for being slow, as the machine may be; in CI the same examples each time."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

spared = [HealthCheck.too_slow, HealthCheck.filter_too_much]
settings.register_profile("patient", deadline=None, suppress_health_check=spared)
# A change is judged by what it changes.
settings.register_profile("ci", settings.get_profile("patient"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "patient")
