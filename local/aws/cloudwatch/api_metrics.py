"""AWS/ApiGateway: what requests to an HTTP API publish.

API Gateway Developer Guide, "Monitor CloudWatch metrics for HTTP APIs". 4xx and 5xx are 1 or 0 for each request, as the
recommended alarms of the CloudWatch User Guide read them. That a preflight and a refused request count as well is an
assumption; metrics by route, which detailed metrics add, are not emulated.
"""

from __future__ import annotations

from local.aws.cloudwatch.publishing import Dimensions, Publisher

_NAMESPACE = "AWS/ApiGateway"


def answered(
    account: str, region: str, api_id: str, *, status: int, latency_ms: float, integration_ms: float | None
) -> None:
    """Publish a request that was answered; `integration_ms` is None where the function was not asked."""
    publisher = Publisher(account, region, _NAMESPACE)
    sets: tuple[Dimensions, ...] = {"ApiId": api_id}, {"ApiId": api_id, "Stage": "$default"}
    publisher.put("Count", 1, "Count", *sets)
    for name, first in (("4xx", 400), ("5xx", 500)):
        publisher.put(name, float(first <= status < first + 100), "Count", *sets)
    publisher.put("Latency", latency_ms, "Milliseconds", *sets)
    if integration_ms is not None:
        publisher.put("IntegrationLatency", integration_ms, "Milliseconds", *sets)
