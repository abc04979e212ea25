"""Shared settings: no cloud beyond this machine is ever asked."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, Phase, settings


os.environ.update(
    AWS_ACCESS_KEY_ID="test",
    AWS_SECRET_ACCESS_KEY="test",
    AWS_DEFAULT_REGION="eu-central-1",
    AWS_EC2_METADATA_DISABLED="true",
)

for name, examples in (("short", 100), ("long", 5000)):
    settings.register_profile(
        name,
        max_examples=examples,
        deadline=None,
        phases=[phase for phase in Phase if phase is not Phase.explain],
        suppress_health_check=[
            HealthCheck.too_slow,
            HealthCheck.function_scoped_fixture,
        ],
    )
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "short"))
