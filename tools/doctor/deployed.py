"""Whose the environment is, and whether it stands: account, state, quota, functions."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from tools.account import arns_of, refusal
from tools.doctor.finding import Finding, ok, wrong
from tools.doctor.pausing import waking
from tools.doctor.site import (
    BOOTSTRAP,
    DATABASE,
    FUNCTION,
    FunctionFailed,
    Gone,
    NotJudged,
    Site,
    StateUnreadable,
    name_of,
)
from tools.mend import tainted
from tools.preflight import KEPT_UNRESERVED, QUOTA


def account(site: Site) -> Finding:
    """Compare who calls with whose the state is."""
    try:
        here = site.place
    except (BotoCoreError, ClientError) as error:
        return wrong(f"Who calls is not known: {error}.", "Log in to AWS, or renew the credentials.")
    try:
        said = refusal(site.root, list(arns_of(site.state)), here)
    except NotJudged:
        said = None  # the state's own layer tells
    if said:
        text, _, fix = said.partition(" Use ")
        return wrong(text, f"Use {fix}")
    return ok(f"{here}")


def state(site: Site) -> Finding:
    """Read the state, and see whether what it is of exists."""
    environment = site.environment
    try:
        resources = sum(len(resource["instances"]) for resource in site.state.get("resources", []))
    except StateUnreadable as error:
        return wrong(f"Terraform does not give its state: {error}", f"make plan ENV={environment} sets its backend up.")
    missing = [name for name in (FUNCTION, BOOTSTRAP, DATABASE) if not site.outputs.get(name)]
    if missing:
        what = "It is empty." if not resources else f"It has no output {', '.join(missing)}."
        return wrong(what, f"make deploy ENV={environment}; where it is deployed, look at the backend in {site.root}.")
    gone = list(filter(None, (_gone(site, thing) for thing in ("function", "bootstrap", "database", "proxy"))))
    if gone:
        return wrong(" ".join(gone), f"make deploy ENV={environment} makes it again.")
    broken = [address for address, _, _ in tainted(site.state)]
    if broken:
        return wrong(
            f"An apply broke off while it made {', '.join(broken)}.",
            f"make deploy ENV={environment} keeps what is whole and makes the rest again.",
        )
    return ok(f"serial {site.state.get('serial')}, {resources} resources")


def quota(site: Site) -> Finding:
    """Hold the function's reservation against the state's and the account's limit."""
    name = name_of(site.output(FUNCTION))
    limits = site.client("lambda").get_account_settings()["AccountLimit"]
    limit, unreserved = limits["ConcurrentExecutions"], limits["UnreservedConcurrentExecutions"]
    reserved, meant = site.reserved_concurrency, _meant(site, name)
    again = f"make deploy ENV={site.environment} reserves what the configuration says."
    if reserved == 0 and meant != 0:
        return wrong(f"{name} is switched off: its reserved concurrency is 0.", again)
    if reserved != meant:
        return wrong(f"{name} has {_count(reserved)} reserved, where {_count(meant)} is meant.", again)
    least = min(KEPT_UNRESERVED, limit)
    if unreserved < least:
        enough = limit - unreserved + KEPT_UNRESERVED
        return wrong(
            f"The account runs {limit} executions at once, {limit - unreserved} reserved: less than {least} are left "
            "for all other functions.",
            "Ask for more: aws service-quotas request-service-quota-increase --service-code lambda "
            f"--quota-code {QUOTA} --desired-value {enough}.",
        )
    return ok(f"{name} has {_count(reserved)} of {limit} reserved, {unreserved} are unreserved")


def function(site: Site) -> Finding:
    """Look at both functions: their state, their last update, their layers, and whether their code starts."""
    problems = [_not_ready(site, site.bootstrap), _not_ready(site, site.function)]
    for found in filter(None, problems):
        return found
    for look in ("view", "database_view"):
        try:
            getattr(site, look)
        except FunctionFailed as error:
            if error.timed_out and site.paused:
                return waking(site, f"{error}")
            follows = ("quota", "subnets", "rules", "target") if error.timed_out else ()
            return wrong(
                f"{error}", f"Read make logs ENV={site.environment}, correct the code, deploy again.", follows=follows
            )
        except NotJudged:
            continue
    if site.known_view("view").get("failed") == "settings":
        view = site.view
        return wrong(f"{view['reason']}.", f"make deploy ENV={site.environment} sets the function's variables again.")
    configuration = site.function
    architecture = configuration.get("Architectures", ["x86_64"])[0]
    return ok(f"{configuration['FunctionName']} version {configuration['Version']} is Active, {architecture}")


def _gone(site: Site, thing: str) -> str | None:
    try:
        getattr(site, thing)
    except Gone as error:
        return str(error)
    except (NotJudged, BotoCoreError, ClientError):
        return None
    return None


def _meant(site: Site, name: str) -> int | None:
    """Return what the state says to reserve; None for no reservation."""
    for attributes in site.of_type("aws_lambda_function"):
        if attributes["function_name"] == name:
            count = attributes.get("reserved_concurrent_executions")
            return None if count in (None, -1) else int(count)
    return None


def _count(reserved: int | None) -> str:
    return "nothing" if reserved is None else str(reserved)


def _not_ready(site: Site, configuration: dict[str, Any]) -> Finding | None:
    name, environment = configuration["FunctionName"], site.environment
    state, why = configuration.get("State", "Active"), configuration.get("StateReason", "")
    if state == "Inactive":
        return wrong(f"{name} is Inactive: nobody invoked it for weeks.", _wake(site, configuration))
    if state == "Pending":
        return wrong(f"{name} is Pending: {why or 'Lambda prepares it.'}", "Wait some minutes.")
    if state != "Active":
        return wrong(f"{name} is {state}: {why}", f"Remove the cause, then make deploy ENV={environment}.")
    if configuration.get("LastUpdateStatus") == "Failed":
        reason = configuration.get("LastUpdateStatusReason", "")
        return wrong(
            f"The last update of {name} failed: {reason}", f"Remove the cause, then make deploy ENV={environment}."
        )
    return _other_architecture(site, configuration)


def _wake(site: Site, configuration: dict[str, Any]) -> str:
    of_bootstrap = name_of(site.output(BOOTSTRAP)) == configuration["FunctionName"]
    command = (
        f"make migrate ENV={site.environment} ACTION=plan" if of_bootstrap else f"make invoke ENV={site.environment}"
    )
    return f"{command} wakes it, which takes minutes."


def _other_architecture(site: Site, configuration: dict[str, Any]) -> Finding | None:
    """Compare the function's architecture with that of each of its layers, which Lambda does not."""
    architecture = configuration.get("Architectures", ["x86_64"])[0]
    for layer in configuration.get("Layers", []):
        arn, _, version = layer["Arn"].rpartition(":")
        try:
            found = site.client("lambda").get_layer_version(LayerName=arn, VersionNumber=int(version))
        except ClientError:
            continue  # deleted, or another account's: versions that use it run on
        made_for = found.get("CompatibleArchitectures", [])
        if made_for and architecture not in made_for:
            return wrong(
                f"{configuration['FunctionName']} runs on {architecture}, its layer {arn.split(':')[6]} is for "
                f"{', '.join(made_for)}.",
                f"make package ARCH={architecture}, name that layer in {site.root}/main.tf, deploy again.",
            )
    return None
