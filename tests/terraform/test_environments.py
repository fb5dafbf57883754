import pytest

from tests.plans import Plan, plan_root


@pytest.fixture(scope="module")
def dev() -> Plan:
    return plan_root("dev")


@pytest.fixture(scope="module")
def prod() -> Plan:
    return plan_root("prod")


def rules(plan: Plan, direction: str) -> dict[str, int]:
    return {
        address.split('"')[1]: rule["from_port"]
        for address, rule in plan.of_type(f"aws_vpc_security_group_{direction}_rule").items()
    }


@pytest.mark.parametrize("direction", ["egress", "ingress"])
def test_dev_opens_the_direct_path_only(dev: Plan, direction: str) -> None:
    assert rules(dev, direction) == {
        "function-database": 5432,
        "bootstrap-database": 5432,
        "bootstrap-secretsmanager": 443,
    }


@pytest.mark.parametrize("direction", ["egress", "ingress"])
def test_prod_opens_the_path_through_the_proxy_only(prod: Plan, direction: str) -> None:
    assert rules(prod, direction) == {
        "function-proxy": 5432,
        "proxy-database": 5432,
        "bootstrap-database": 5432,
        "bootstrap-secretsmanager": 443,
    }


@pytest.mark.parametrize("environment", ["dev", "prod"])
def test_nothing_is_open_to_the_world(environment: str, request: pytest.FixtureRequest) -> None:
    plan: Plan = request.getfixturevalue(environment)
    assert "0.0.0.0/0" not in str(plan.document["resource_changes"])
    assert "::/0" not in str(plan.document["resource_changes"])


def test_function_connects_and_logs_in_where_its_environment_says(dev: Plan, prod: Plan) -> None:
    assert dev.references("function", "connection")[0] == "module.database.connection"
    assert prod.references("function", "connection")[0] == "module.proxy.connection"


def test_user_behind_the_proxy_has_a_password_and_the_direct_one_iam(dev: Plan, prod: Plan) -> None:
    def auth(plan: Plan) -> str:
        call = plan.document["configuration"]["root_module"]["module_calls"]["bootstrap"]
        return str(call["expressions"]["auth"]["constant_value"])

    assert (auth(dev), auth(prod)) == ("iam", "password")


def test_function_is_the_same_in_both(dev: Plan, prod: Plan) -> None:
    def code(plan: Plan) -> list[object]:
        function = plan["module.function.aws_lambda_function.main"]
        return [function[key] for key in ("source_code_hash", "handler", "runtime", "architectures", "memory_size")]

    assert code(dev) == code(prod)


def test_prod_survives_a_zone_and_a_mistake(prod: Plan) -> None:
    instance = prod["module.database.aws_db_instance.main"]
    assert instance["multi_az"] is True
    assert instance["deletion_protection"] is True
    assert instance["skip_final_snapshot"] is False
    assert len(prod.of_type("aws_subnet")) == 3


def test_dev_is_cheap_and_can_be_thrown_away(dev: Plan) -> None:
    instance = dev["module.database.aws_db_instance.main"]
    assert instance["multi_az"] is False
    assert instance["deletion_protection"] is False
    assert len(dev.of_type("aws_vpc_endpoint")) == 1
    assert not dev.of_type("aws_nat_gateway")
    assert not dev.of_type("aws_db_proxy")
