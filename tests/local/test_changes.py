"""An instance is changed: what its server and the stand-in proxy then do."""

from __future__ import annotations

import pytest
from lambda_postgres import LoginRefused

from tests.waiting import await_that

from .deployment import Deployment


def test_proxy_learns_of_max_connections_when_the_server_has_restarted(deployment: Deployment) -> None:
    rds = deployment.client("rds")
    deployment.make_proxy()
    proxy = deployment.stack.proxies.listener("app")
    family = {"DBParameterGroupFamily": "postgres17", "Description": "test"}
    rds.create_db_parameter_group(DBParameterGroupName="app", **family)
    parameter = {"ParameterName": "max_connections", "ParameterValue": "50", "ApplyMethod": "pending-reboot"}
    rds.modify_db_parameter_group(DBParameterGroupName="app", Parameters=[parameter])
    rds.modify_db_instance(DBInstanceIdentifier="app", DBParameterGroupName="app", ApplyImmediately=True)
    assert deployment.query("SHOW max_connections") == [("100",)]
    assert proxy.metrics().max_server_connections == 20
    rds.reboot_db_instance(DBInstanceIdentifier="app")
    await_that(lambda: rds.describe_db_instances()["DBInstances"][0]["DBInstanceStatus"] == "available", seconds=30)
    assert deployment.query("SHOW max_connections") == [("50",)]
    await_that(lambda: proxy.metrics().max_server_connections == 10, seconds=30)


def test_tokens_are_refused_while_iam_authentication_is_off(deployment: Deployment) -> None:
    def log_in() -> None:
        keeper = deployment.keeper(deployment.direct)
        with keeper.connection() as connection, connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        keeper.close()

    def switch(*, on: bool, at_once: bool) -> None:
        deployment.client("rds").modify_db_instance(
            DBInstanceIdentifier="app", EnableIAMDatabaseAuthentication=on, ApplyImmediately=at_once
        )

    switch(on=False, at_once=False)
    log_in()
    deployment.stack.let_window_pass()
    with pytest.raises(LoginRefused):
        log_in()
    switch(on=True, at_once=True)
    log_in()
