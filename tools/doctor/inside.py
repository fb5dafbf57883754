"""What the function sees from inside the VPC: name, certificate, login."""

from __future__ import annotations

import time
from collections.abc import Mapping
from ssl import cert_time_to_seconds
from typing import Any

from tools.database import Database
from tools.doctor.finding import Finding, ok, unknown, wrong
from tools.doctor.pausing import is_waking, waking
from tools.doctor.site import NotJudged, Site, variables

LEAST_DAYS = 30  # before which a certificate should have been replaced

_STEPS = ("settings", "address", "server", "certificate", "login", "query")
_NO_ROOM = ("Timed-out waiting to acquire", "too many", "remaining connection slots", "Rate of connection")
_BEHIND_THE_PROXY = "Request returned an error"


def dns(site: Site) -> Finding:
    """See that the function's host is the endpoint's name, and has an address."""
    host, endpoints = variables(site.function).get("PGHOST", ""), _endpoints(site)
    if host not in endpoints:
        return wrong(
            f"The function connects to {host or 'no host'}, but the endpoint is {' or '.join(endpoints)}.",
            f"make deploy ENV={site.environment} leads it there.",
        )
    reader, of_readers = variables(site.function).get("PGHOST_READER"), _endpoints(site, "READ_ONLY")
    if reader and reader not in of_readers:
        there = f"the readers' endpoint is {' or '.join(of_readers)}" if of_readers else "there is none for reading"
        return wrong(
            f"The function reads from {reader}, but {there}.",
            f"make deploy ENV={site.environment} sets its PGHOST_READER again.",
        )
    view = _reached(site, "address")
    if view.get("failed") == "address":
        return wrong(
            f"{host} has no address: {view['reason']}.",
            "Turn enable_dns_support on in the VPC, and compare the name with the endpoint in RDS.",
        )
    return ok(f"{host} is {view['address']}")


def tls(site: Site) -> Finding:
    """See that something answers there, and that its certificate chain and name are the expected ones."""
    view = _reached(site, "server")
    host = view["settings"]["host"]
    if is_waking(site, view):
        return waking(site, view["reason"])
    if view.get("failed") == "server":
        return wrong(
            f"{host} does not answer: {view['reason']}.",
            "Look at the network ACLs and route tables of the subnets: security groups alone do not explain it.",
            follows=("subnets", "rules", "dns", "target"),
        )
    if view.get("failed") == "certificate":
        if "timed out" in view["reason"]:
            return wrong(f"{host} begins no TLS: {view['reason']}.", "Reboot it.", follows=("rules", "target"))
        return wrong(
            f"The certificate of {host} is not to be trusted: {view['reason']}.",
            "Connect to the endpoint's own name, with the connection's ca_file and the layer of this tree.",
            follows=("dns",),
        )
    return ok(f"verified, issued by {_issuer(view['certificate'])}")


def token(site: Site) -> Finding:
    """See that the server takes the function's token, or its password."""
    view = _reached(site, "login")
    what = "password" if view["settings"]["auth"] == "secret" else "token"
    user, reason = view["settings"]["user"], view.get("reason", "")
    if view.get("failed") is None:
        return ok(f"accepted of {user}, PostgreSQL {view['query'][1]} answers")
    if is_waking(site, view):
        return waking(site, reason)
    if has_no_room(view):
        accepted = view["failed"] == "query"
        return ok(f"accepted of {user}") if accepted else unknown(f"Not judged, for no connection was free: {reason}.")
    if view["failed"] == "query" or _BEHIND_THE_PROXY in reason:
        return wrong(
            f"The {what} of {user} is accepted, but the database does not answer: {reason}.",
            f"make migrate ENV={site.environment} sets the proxy's password again.",
            follows=("policy", "target", "secret", "login"),
        )
    if view["error"] == "LoginRefused":
        return wrong(
            f"The {what} of {user} is refused: {reason}.",
            f"make deploy ENV={site.environment} and make migrate ENV={site.environment} set policy and role again.",
            follows=("policy", "target", "secret", "login"),
        )
    return wrong(
        f"The login of {user} failed: {reason}.",
        f"make logs ENV={site.environment} OF={'function' if site.proxy is None else 'proxy'} tells more.",
        follows=("subnets", "rules", "target"),
    )


def has_no_room(view: Mapping[str, Any]) -> bool:
    """Tell whether neither the server nor the proxy's pool had a connection free."""
    return any(words in view.get("reason", "") for words in _NO_ROOM)


def certificate(site: Site) -> Finding:
    """See that no certificate runs out soon."""
    ends: dict[str, float] = {}
    seen = site.known_view("view").get("certificate")
    if seen:
        ends[site.view["settings"]["host"]] = cert_time_to_seconds(seen["notAfter"])
    of_instances = {
        instance["DBInstanceIdentifier"]: instance["CertificateDetails"]["ValidTill"].timestamp()
        for instance in site.database.instances
        if "ValidTill" in instance.get("CertificateDetails", {})
    }
    ends |= of_instances
    if not ends:
        return unknown("No certificate was seen.")
    days = {name: int((end - time.time()) // 86_400) for name, end in ends.items()}
    name, left = min(days.items(), key=lambda item: item[1])
    if left < LEAST_DAYS:
        return wrong(
            f"The certificate of {name} runs out in {left} days.",
            f"{_renewal(site.database, name)} makes a new one; a proxy's own is AWS's to renew: open a case.",
        )
    return ok(f"that of {name} lasts {left} days")


def _reached(site: Site, step: str) -> dict[str, Any]:
    """Return what the function sees; NotJudged where its way ends before this step."""
    view = site.view
    failed = view.get("failed", step)
    if _STEPS.index(failed) < _STEPS.index(step):
        raise NotJudged(f"the way ends before, at the {failed}.")
    return view


def _endpoints(site: Site, role: str = "READ_WRITE") -> list[str]:
    """The names that lead to the proxy or, without one, to the database, for writing or for reading only."""
    database, writes = site.database, role == "READ_WRITE"
    if site.proxy is None:
        return [database.host] if writes else [database.reader_host] if database.reader_host else []
    name = site.proxy["DBProxyName"]
    further = site.client("rds").describe_db_proxy_endpoints(DBProxyName=name)["DBProxyEndpoints"]
    return [
        *([site.proxy["Endpoint"]] if writes else []),
        *(
            endpoint["Endpoint"]
            for endpoint in further
            if not endpoint.get("IsDefault") and endpoint.get("TargetRole", "READ_WRITE") == role
        ),
    ]


def _renewal(database: Database, name: str) -> str:
    """Return the command that gives an instance a new certificate; of an endpoint, it is the writer's."""
    one = next((one for one in database.instances if one["DBInstanceIdentifier"] == name), database.writer or {})
    authority = one.get("CACertificateIdentifier", "rds-ca-rsa2048-g1")
    whole = database.is_cluster and not database.aurora  # a Multi-AZ cluster has one authority for all
    word, of = ("cluster", database.name) if whole else ("instance", one.get("DBInstanceIdentifier", database.name))
    return (
        f"aws rds modify-db-{word} --db-{word}-identifier {of} --ca-certificate-identifier {authority} "
        "--apply-immediately"
    )


def _issuer(seen: dict[str, Any]) -> str:
    names = {key: value for part in seen["issuer"] for key, value in part}
    return str(names.get("commonName") or names.get("organizationName"))
