"""Where moto's answers differ from those that AWS documents, and what the modules here need of them.

Every correction replaces attributes of moto's classes while the control plane runs. For each there is a test that fails
as soon as moto has it by itself: then delete it here.
"""

from local.aws.corrections import (
    alarms,
    autoscaling,
    clusters,
    dashboards,
    event_sources,
    functions,
    http_apis,
    instances,
    key_policies,
    keys,
    logs,
    metrics,
    network,
    parameters,
    proxies,
    roles,
    secrets,
    simulation,
    snapshots,
    speed,
)
from local.aws.moto import Moto

__all__ = ["clusters", "correct", "functions", "logs", "parameters"]

_ROOMS = (
    instances,
    parameters,
    clusters,
    autoscaling,
    proxies,
    network,
    functions,
    event_sources,
    http_apis,
    metrics,
    alarms,
    dashboards,
    secrets,
    keys,
    key_policies,
    roles,
    snapshots,
    logs,
    simulation,
    speed,
)


def correct(moto: Moto) -> None:
    """Apply all corrections."""
    for room in _ROOMS:
        room.correct(moto)
