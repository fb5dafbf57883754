"""CloudWatch dashboards: a body is checked before it is kept."""

from __future__ import annotations

from typing import Any

from moto.cloudwatch.exceptions import DashboardInvalidInputError, InvalidParameterValue
from moto.cloudwatch.responses import CloudWatchResponse
from moto.core.responses import ActionResult

from local.aws.cloudwatch import dashboards
from local.aws.moto import Method, Moto


def correct(moto: Moto) -> None:
    """Apply the corrections of this room."""
    bodies_are_checked(moto)


def bodies_are_checked(moto: Moto) -> None:
    """PutDashboard refuses what is wrong and returns warnings (API Reference, PutDashboard)."""

    @moto.around(CloudWatchResponse, "put_dashboard")
    def put(original: Method, self: Any) -> Any:
        name, body = self._get_param("DashboardName"), self._get_param("DashboardBody")
        if not dashboards.NAME.fullmatch(name or ""):
            raise InvalidParameterValue(f"The value {name} for field DashboardName contains invalid characters.")
        findings = dashboards.check(body or "")
        if errors := [finding for finding in findings if not finding.warning]:
            raise DashboardInvalidInputError(dashboards.refusal(errors))
        original(self)
        messages = [{"DataPath": finding.path, "Message": finding.message} for finding in findings]
        return ActionResult({"DashboardValidationMessages": messages})
