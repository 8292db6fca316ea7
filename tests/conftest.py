"""Settings that all tests share."""

import os

from hypothesis import HealthCheck, settings

# Machines are shared and noisy: how long an example takes says nothing about the code. The
# examples are the same in every run, unless asked otherwise: HYPOTHESIS_PROFILE=explore.
_PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("steady", _PATIENT, derandomize=True)
settings.register_profile("explore", _PATIENT)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))
