"""Parameter groups of RDS."""

from __future__ import annotations

from typing import Any

from moto.core.responses import ActionResult
from moto.rds.models import (
    DBParameterGroup,
)
from moto.rds.responses import RDSResponse

from local.corrections.moto import Method, Moto


def correct(moto: Moto) -> None:
    """Apply the corrections of this room."""
    parameters_given_are_the_user_s(moto)


def parameters_given_are_the_user_s(moto: Moto) -> None:
    """DescribeDBParameters marks the user's parameters by their Source; ResetDBParameterGroup removes them."""

    @moto.around(DBParameterGroup, "update_parameters")
    def update(original: Method, self: Any, new_parameters: Any) -> None:
        original(self, [{**parameter, "Source": "user"} for parameter in new_parameters])

    @moto.add(RDSResponse)
    def reset_db_parameter_group(self: Any) -> ActionResult:
        name = self.params["DBParameterGroupName"]
        group = self.backend.describe_db_parameter_groups({"db_parameter_group_name": name})[0]
        for parameter in self.params.get("Parameters", []):
            group.parameters.pop(parameter["ParameterName"], None)
        if self.params.get("ResetAllParameters"):
            group.parameters.clear()
        return ActionResult({"DBParameterGroupName": group.name})
