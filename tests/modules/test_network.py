import pytest

from tests.grants import grants
from tests.plans import ROOT, Plan, Refusals, arn, plan_module, plan_standing, plan_variants

ORDERS = {"paths": [["orders", "orders_pool", "orders_data"]], "endpoints": {}}

REFUSALS: Refusals = {
    "one_zone": ({"zone_ids": ["use1-az1"]}, "two or three different zones"),
    "zone_twice": ({"zone_ids": ["use1-az1", "use1-az1"]}, "two or three different zones"),
    "zone_name": ({"zone_ids": ["us-east-1a", "us-east-1b"]}, "not zone names"),
    "zone_without_proxy": ({"zone_ids": ["use1-az1", "use1-az3"]}, "RDS Proxy does not run there"),
    "no_range": ({"cidr": "10.0.0.0"}, "must be an IPv4 range"),
    "large_range": ({"cidr": "10.0.0.0/15"}, "the largest that a VPC takes"),
    "zone_without_a_proxy_of_another_name": (
        {"zone_ids": ["use1-az1", "use1-az3"], **ORDERS},
        "when a proxy (orders_pool) is on a path",
    ),
    "zone_without_a_proxy_on_two_paths": (
        {"zone_ids": ["use1-az1", "use1-az3"], "paths": [["f", "p"], ["p", "d"]], "endpoints": {}},
        "when a proxy (p) is on a path",
    ),
    "small_range": ({"cidr": "10.0.0.0/25"}, "which leaves 6; proxies want 10"),
    "small_range_for_a_proxy_of_another_name": ({"cidr": "10.0.0.0/25", **ORDERS}, "which leaves 8; proxies want 10"),
    "small_range_for_two_proxies": (
        {"cidr": "10.0.0.0/25", "paths": [["f", "p", "d"], ["g", "q", "d"]], "endpoints": {"logs": ["f"]}},
        "which leaves 6; proxies want 20",
    ),
    "nat": ({"egress": {"tiers": ["function"], "nat": "two"}}, "must be one or each_zone"),
    "egress_of_nobody": ({"egress": {"tiers": []}}, "must be clients"),
    "egress_of_the_database": ({"egress": {"tiers": ["database"]}}, "no business on the internet"),
    "egress_of_a_proxy": (
        {"paths": [["proxy", "database"], ["function", "proxy"]], "endpoints": {}, "egress": {"tiers": ["proxy"]}},
        "the first tiers of paths (function)",
    ),
    "lonely_tier": ({"paths": [["database"]], "endpoints": {}}, "at least two different tiers"),
    "no_tier": ({"paths": [[]], "endpoints": {}}, "at least two different tiers"),
    "tier_in_capitals": (
        {"paths": [["Function", "database"]], "endpoints": {}},
        "must name tiers by lower-case letters",
    ),
    "unknown_user": ({"endpoints": {"secretsmanager": ["nobody"]}}, "only by tiers that paths names: function, proxy"),
    "tier_named_as_an_endpoint": (
        {"paths": [["sqs", "database"]], "endpoints": {"sqs": ["sqs"]}},
        "must not have the name of a tier: sqs",
    ),
    "port": ({"database_port": 80}, "from 1150 to 65535"),
    "unknown_zone": ({"endpoint_zone_ids": ["use1-az6"]}, "must be among zone_ids"),
}


@pytest.fixture(scope="module")
def plan() -> Plan:
    return plan_module("network", endpoint_zone_ids=["use1-az2"])


def test_each_step_of_a_path_has_a_pair_of_rules_and_nothing_else_is_open(plan: Plan) -> None:
    pairs = {
        "function-proxy": 5432,
        "proxy-database": 5432,
        "bootstrap-database": 5432,
        "bootstrap-secretsmanager": 443,
    }
    for direction in ("egress", "ingress"):
        rules = plan.of_type(f"aws_vpc_security_group_{direction}_rule")
        open_ports = {address.split('"')[1]: rule["from_port"] for address, rule in rules.items()}
        assert open_ports == pairs
        assert all(rule["from_port"] == rule["to_port"] and rule["ip_protocol"] == "tcp" for rule in rules.values())


def test_database_is_reached_at_its_port_and_the_proxy_at_postgresql_s() -> None:
    rules = plan_module("network", database_port=5433).of_type("aws_vpc_security_group_ingress_rule")
    open_ports = {address.split('"')[1]: rule["from_port"] for address, rule in rules.items()}
    assert open_ports["bootstrap-database"] == open_ports["proxy-database"] == 5433
    assert open_ports["function-proxy"] == 5432


def test_no_rule_names_addresses(plan: Plan) -> None:
    for direction in ("egress", "ingress"):
        for rule in plan.of_type(f"aws_vpc_security_group_{direction}_rule").values():
            assert [rule[key] for key in ("cidr_ipv4", "cidr_ipv6", "prefix_list_id")] == [None] * 3
    assert not any("ingress" in group or "egress" in group for group in plan.of_type("aws_security_group").values())


def test_nothing_leads_to_the_internet(plan: Plan) -> None:
    kinds = {change["type"] for change in plan.changes.values()}
    assert kinds.isdisjoint({"aws_internet_gateway", "aws_nat_gateway", "aws_route", "aws_eip"})
    assert all(not subnet["map_public_ip_on_launch"] for subnet in plan.of_type("aws_subnet").values())


def test_subnets_stand_in_the_zones_by_id_without_overlap(plan: Plan) -> None:
    subnets = plan.of_type("aws_subnet").values()
    assert {subnet["availability_zone_id"]: subnet["cidr_block"] for subnet in subnets} == {
        "use1-az1": "10.0.0.0/19",
        "use1-az2": "10.0.32.0/19",
    }


def test_flow_logs_are_kept_for_a_year(plan: Plan) -> None:
    assert plan["module.network.aws_flow_log.main"]["traffic_type"] == "ALL"
    assert plan["module.network.aws_cloudwatch_log_group.flow"]["retention_in_days"] == 365


def test_roles_and_the_log_key_name_whom_they_serve() -> None:
    """In the text: a plan of the network alone does not know its account."""
    text = (ROOT / "modules" / "network" / "logs.tf").read_text()
    assert "log-group:*" not in text
    assert ':log-group:/aws/*/${var.name}${end}"' in text
    assert 'for end in ["", "-*", "/*"]' in text
    assert ':vpc-flow-log/*"' in text


@pytest.fixture(scope="module")
def egress() -> Plan:
    return plan_variants(
        "network",
        each_zone={"egress": {"tiers": ["function"], "nat": "each_zone"}},
        one={"egress": {"tiers": ["function"]}},
    )


def test_only_the_tier_that_asks_reaches_the_internet_and_only_over_https(egress: Plan) -> None:
    rules = egress.of_type("aws_vpc_security_group_egress_rule", call="one")
    open_rules = {address: rule for address, rule in rules.items() if rule["cidr_ipv4"] or rule["cidr_ipv6"]}
    [(address, rule)] = open_rules.items()
    assert address == 'module.one.aws_vpc_security_group_egress_rule.internet["function"]'
    assert (rule["cidr_ipv4"], rule["from_port"], rule["to_port"]) == ("0.0.0.0/0", 443, 443)


def test_nothing_comes_in_from_the_internet(egress: Plan) -> None:
    assert not any(rule["cidr_ipv4"] for rule in egress.of_type("aws_vpc_security_group_ingress_rule").values())
    assert not any(subnet["map_public_ip_on_launch"] for subnet in egress.of_type("aws_subnet").values())


@pytest.mark.parametrize(("call", "gateways"), [("each_zone", 2), ("one", 1)])
def test_each_zone_has_a_gateway_of_its_own_or_all_share_one(egress: Plan, call: str, gateways: int) -> None:
    assert len(egress.of_type("aws_nat_gateway", call=call)) == gateways
    assert len([address for address in egress.of_type("aws_subnet", call=call) if ".public" in address]) == gateways
    assert len([address for address in egress.of_type("aws_route", call=call) if ".egress" in address]) == 2


def test_public_subnets_lie_beside_the_isolated_ones(egress: Plan) -> None:
    ranges = [subnet["cidr_block"] for subnet in egress.of_type("aws_subnet", call="each_zone").values()]
    assert sorted(ranges) == ["10.0.0.0/19", "10.0.128.0/19", "10.0.160.0/19", "10.0.32.0/19"]


def test_endpoints_answer_to_private_names_in_the_chosen_zones(plan: Plan) -> None:
    [endpoint] = plan.of_type("aws_vpc_endpoint").values()
    assert endpoint["private_dns_enabled"] is True
    assert endpoint["vpc_endpoint_type"] == "Interface"


def test_names_of_endpoints_resolve_in_the_vpc(plan: Plan) -> None:
    vpc = plan["module.network.aws_vpc.main"]
    assert (vpc["enable_dns_support"], vpc["enable_dns_hostnames"]) == (True, True)


def test_default_group_has_no_rules(plan: Plan) -> None:
    group = plan["module.network.aws_default_security_group.main"]
    assert not group.get("ingress")
    assert not group.get("egress")


@pytest.fixture(scope="module")
def standing() -> Plan:
    return plan_standing("network", endpoint_zone_ids=["use1-az2"], egress={"tiers": ["function"], "nat": "each_zone"})


KEY = "module.network.aws_kms_key.logs"


def test_account_stays_in_charge_of_the_key_and_logs_may_use_it_for_log_groups_of_this_stack(standing: Plan) -> None:
    named = (f"arn:aws:logs:us-east-1:111122223333:log-group:/aws/*/app{end}" for end in ("", "-*", "/*"))
    groups = f"if kms:EncryptionContext:aws:logs:arn is like {' or '.join(named)}"
    actions = ("Encrypt", "Decrypt", "ReEncrypt*", "GenerateDataKey*", "Describe*")
    assert grants(standing[KEY]["policy"]) == {
        "Allow arn:aws:iam::111122223333:root kms:* on *",
        *(f"Allow logs.us-east-1.amazonaws.com kms:{action} on * {groups}" for action in actions),
    }


def test_key_turns_over_and_can_be_saved_for_a_month(standing: Plan) -> None:
    assert standing[KEY]["enable_key_rotation"] is True
    assert standing[KEY]["deletion_window_in_days"] == 30
    assert standing["module.network.aws_kms_alias.logs"]["target_key_id"] == KEY


def test_flow_logs_of_this_account_write_into_their_group_and_nothing_else(standing: Plan) -> None:
    role = standing["module.network.aws_iam_role.flow_logs"]
    assert grants(role["assume_role_policy"]) == {
        "Allow vpc-flow-logs.amazonaws.com sts:AssumeRole"
        " if aws:SourceArn is like arn:aws:ec2:us-east-1:111122223333:vpc-flow-log/*"
        " and aws:SourceAccount is 111122223333"
    }
    group = arn("aws_cloudwatch_log_group", "flow")
    assert grants(standing["module.network.aws_iam_role_policy.flow_logs"]["policy"]) == {
        f"Allow logs:{action} on {group}:*" for action in ("CreateLogStream", "PutLogEvents", "DescribeLogStreams")
    }
    flow_log = standing["module.network.aws_flow_log.main"]
    assert flow_log["vpc_id"] == "module.network.aws_vpc.main"
    assert flow_log["log_destination"] == group
    assert flow_log["iam_role_arn"] == arn("aws_iam_role", "flow_logs")
    assert standing["module.network.aws_cloudwatch_log_group.flow"]["kms_key_id"] == arn("aws_kms_key", "logs")


def test_endpoint_serves_this_account_only_in_the_zones_and_the_group_that_are_its_own(standing: Plan) -> None:
    endpoint = standing['module.network.aws_vpc_endpoint.interface["secretsmanager"]']
    assert grants(endpoint["policy"]) == {"Allow * * on * if aws:PrincipalAccount is 111122223333"}
    assert endpoint["service_name"] == "com.amazonaws.us-east-1.secretsmanager"
    expected = {"subnet_ids": "var.endpoint_zone_ids", "security_group_ids": "aws_security_group.tier"}
    assert all(name in references(standing, "aws_vpc_endpoint.interface", each) for each, name in expected.items())


def test_rules_name_the_group_of_the_other_tier(standing: Plan) -> None:
    for direction, near, far in [("egress", "from", "to"), ("ingress", "to", "from")]:
        rule = f"aws_vpc_security_group_{direction}_rule.pair"
        assert f"each.value.{near}" in references(standing, rule, "security_group_id")
        assert f"each.value.{far}" in references(standing, rule, "referenced_security_group_id")


def test_all_ways_out_lead_through_the_gateways(standing: Plan) -> None:
    routes = standing.of_type("aws_route")
    assert {route["destination_cidr_block"] for route in routes.values()} == {"0.0.0.0/0"}
    assert "aws_nat_gateway.main" in references(standing, "aws_route.egress", "nat_gateway_id")
    assert "aws_subnet.public" in references(standing, "aws_nat_gateway.main", "subnet_id", at="for_each_expression")
    public = {address: subnet for address, subnet in standing.of_type("aws_subnet").items() if ".public" in address}
    assert {subnet["availability_zone_id"] for subnet in public.values()} == {"use1-az1", "use1-az2"}


def references(plan: Plan, address: str, argument: str, *, at: str = "expressions") -> list[str]:
    """What an argument of a resource is made of; with `at`, what its resource is made for each of."""
    module = plan.document["configuration"]["root_module"]["module_calls"]["network"]["module"]
    found = next(each for each in module["resources"] if each["address"] == address)[at]
    names: list[str] = (found[argument] if at == "expressions" else found)["references"]
    return names
