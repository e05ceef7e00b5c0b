"""What holds for every test: how hypothesis behaves, by HYPOTHESIS_PROFILE (in CI: `ci`)."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# Deadlines and `too_slow` measure the machine, not the code; a busy one must not fail a test.
PATIENT = [HealthCheck.too_slow]
settings.register_profile("default", deadline=None, suppress_health_check=PATIENT)
# The same examples in every run, and nothing that depends on an earlier one: a failure is the change's.
settings.register_profile(
    "ci", deadline=None, suppress_health_check=PATIENT, derandomize=True, database=None, print_blob=True
)
# For a Python beside the one that has run them all.
settings.register_profile(
    "quick", deadline=None, suppress_health_check=PATIENT, derandomize=True, database=None, max_examples=15
)
settings.register_profile("soak", deadline=None, suppress_health_check=PATIENT, max_examples=5_000, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "default"))
