import pytest

from tests.plans import ROOT, Plan, Refusals, plan_module, plan_refusals, plan_variants

REFUSALS: Refusals = {
    "one_zone": ({"zone_ids": ["use1-az1"]}, "two or three different zones"),
    "zone_twice": ({"zone_ids": ["use1-az1", "use1-az1"]}, "two or three different zones"),
    "zone_name": ({"zone_ids": ["us-east-1a", "us-east-1b"]}, "not zone names"),
    "zone_without_proxy": ({"zone_ids": ["use1-az1", "use1-az3"]}, "RDS Proxy does not run there"),
    "no_range": ({"cidr": "10.0.0.0"}, "must be an IPv4 range"),
    "large_range": ({"cidr": "10.0.0.0/15"}, "the largest that a VPC takes"),
    "small_range": ({"cidr": "10.0.0.0/25"}, "which leaves 6; a proxy wants 10"),
    "nat": ({"egress": {"hops": ["function"], "nat": "two"}}, "must be one or each_zone"),
    "egress_of_nobody": ({"egress": {"hops": []}}, "must be clients"),
    "egress_of_the_database": ({"egress": {"hops": ["database"]}}, "no business on the internet"),
    "lonely_hop": ({"paths": [["database"]], "endpoints": {}}, "at least two different hops"),
    "unknown_user": ({"endpoints": {"secretsmanager": ["nobody"]}}, "only by hops that paths names"),
    "unknown_zone": ({"endpoint_zone_ids": ["use1-az6"]}, "must be among zone_ids"),
}


@pytest.fixture(scope="module")
def plan() -> Plan:
    return plan_module("network", endpoint_zone_ids=["use1-az2"])


@pytest.fixture(scope="module")
def refusals() -> dict[str, str]:
    return plan_refusals("network", REFUSALS)


@pytest.mark.parametrize("case", REFUSALS)
def test_wrong_arguments_are_refused(refusals: dict[str, str], case: str) -> None:
    assert REFUSALS[case][1] in refusals[case]


def test_each_hop_has_a_pair_of_rules_and_nothing_else_is_open(plan: Plan) -> None:
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
        each_zone={"egress": {"hops": ["function"], "nat": "each_zone"}},
        one={"egress": {"hops": ["function"]}},
    )


def test_only_the_hop_that_asks_reaches_the_internet_and_only_over_https(egress: Plan) -> None:
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


def test_default_group_has_no_rules(plan: Plan) -> None:
    group = plan["module.network.aws_default_security_group.main"]
    assert not group.get("ingress")
    assert not group.get("egress")
