"""Who may log in: policies, secrets, roles of the database, and the schema that they find."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

from tools.doctor.finding import Finding, ok, wrong
from tools.doctor.pausing import is_waking, waking
from tools.doctor.site import FunctionFailed, NotJudged, Site, variables

METHOD, SCRAM = "rds.accepted_password_auth_method", "scram"


@dataclass(frozen=True)
class Need:
    """What a role must be allowed."""

    who: str
    role: str
    action: str
    resource: str
    context: dict[str, str] = field(default_factory=dict)


def policy(site: Site) -> Finding:
    """Let IAM simulate what the function, the proxy and the bootstrap function need, on the exact resources."""
    needs = list(_needs(site))
    denied = [f"{need.who} may not {need.action} on {need.resource}" for need in needs if not _allowed(site, need)]
    if denied:
        return wrong(f"{'; '.join(denied)}.", f"make deploy ENV={site.environment} writes the policies again.")
    first = needs[0]
    return ok(f"{first.who} may {first.action} on {first.resource}, and {len(needs) - 1} more")


def secret(site: Site) -> Finding:
    """See that each secret can be decrypted, has a value, and that its password logs in."""
    if problem := _unusable(site):
        return problem
    try:
        view = site.database_view
    except FunctionFailed as error:
        if error.timed_out and site.paused:
            return waking(site, f"{error}")
        return wrong(
            f"{error}",
            f"Read make logs ENV={site.environment} OF=bootstrap.",
            follows=("function", "policy", "subnets", "rules", "target"),
        )
    if view.get("failed"):
        return waking(site, view["reason"]) if is_waking(site, view) else _master_problem(site, view)
    wrong_ones = [
        f"that of {name}: {user.get('secret') or user.get('login')}"
        for name, user in view["users"].items()
        if user.get("secret") or user.get("login")
    ]
    if wrong_ones:
        return wrong(
            f"No login with the value of a secret, {'; '.join(wrong_ones)}.",
            f"make migrate ENV={site.environment} sets the password and writes the value again.",
            follows=("policy", "login"),
        )
    by_password = [name for name, user in view["users"].items() if user["auth"] == "password"]
    return ok(f"the master's and that of {', '.join(by_password)} log in")


def login(site: Site) -> Finding:
    """See that who logs in by token has rds_iam, and that who logs in by password has it not."""
    users = _view(site)["users"]
    again = f"make migrate ENV={site.environment} sets the roles again."
    if missing := [name for name, user in users.items() if user["rds_iam"] is None]:
        return wrong(f"The database has no role {', '.join(missing)}.", again)
    for name, user in users.items():
        if user["auth"] == "password" and user["rds_iam"]:
            return wrong(f"{name} has rds_iam, so the database takes no password of it.", again)
        if user["auth"] == "iam" and not user["rds_iam"]:
            return wrong(f"{name} lacks rds_iam, so the database takes no token of it.", again)
    by_token = [name for name, user in users.items() if user["auth"] == "iam"]
    if by_token and not site.database.described.get("IAMDatabaseAuthenticationEnabled"):
        return wrong(
            f"The {site.database.word} has IAM authentication off, so it takes no token of {', '.join(by_token)}.",
            f"make deploy ENV={site.environment} turns it on again.",
        )
    method = _view(site)["server"].get("password_method")
    if site.database.is_cluster and method not in (None, SCRAM):
        return wrong(
            f"The cluster takes passwords of other kinds than {SCRAM}: {METHOD} is {method}.",
            f"make deploy ENV={site.environment} sets it in the cluster's parameter group again.",
        )
    how = ", ".join(f"{name} by {'token' if user['auth'] == 'iam' else 'password'}" for name, user in users.items())
    return ok(how)


def migrations(site: Site) -> Finding:
    """See that every migration is applied, and that the roles are as the settings say."""
    view = _view(site)
    found, changed = view["migrations"], view["changes"]
    again = f"make migrate ENV={site.environment} applies what is pending."
    for part in (found, changed):
        if isinstance(part, dict) and "reason" in part:
            return wrong(f"{part['reason']}", "See the message in docs/operations.md, In the bootstrap function.")
    if found["pending"]:
        return wrong(f"Pending: {', '.join(found['pending'])}.", again)
    if changed:
        return wrong(f"The roles are not as the settings say: {'; '.join(changed)}.", again, follows=("login",))
    last = f", {found['last'][0]} at {found['last'][1]}" if found["last"] else ""
    return ok(f"{found['applied']} applied{last}")


def _view(site: Site) -> dict[str, Any]:
    view = site.database_view
    if view.get("failed") in ("secret", "connection", "server"):
        raise NotJudged(f"the bootstrap function does not come so far: {view['reason']}")
    return view


def _master_problem(site: Site, view: dict[str, Any]) -> Finding:
    reason, database = view["reason"], site.database
    if view["failed"] == "secret":
        return wrong(
            f"The bootstrap function cannot read the master's secret: {reason}.",
            f"make deploy ENV={site.environment} sets its policy and its endpoint again.",
            follows=("policy", "subnets", "rules"),
        )
    if "authentication failed" in reason:
        return wrong(
            "The master's secret does not log in.",
            f"aws rds modify-db-{database.word} --db-{database.word}-identifier {database.name} "
            "--rotate-master-user-password --apply-immediately gives it a new value.",
            follows=("policy",),
        )
    return wrong(
        f"The bootstrap function does not reach the database: {reason}.",
        "Look at the network ACLs and route tables of the subnets, and at the database's own log.",
        follows=("subnets", "rules", "target"),
    )


def _unusable(site: Site) -> Finding | None:
    """Look at the secrets' keys, and hold the secret that RDS manages against the one that is read."""
    if problems := [text for arn in _secrets(site) for text in _key_problem(site, arn)]:
        return wrong(
            f"{'; '.join(problems)}.",
            "aws kms cancel-key-deletion and aws kms enable-key bring a key back.",
        )
    database, read = site.database, variables(site.bootstrap)["MASTER_SECRET_ARN"]
    managed = database.described.get("MasterUserSecret")
    if database.is_cluster and managed and managed["SecretArn"] != read:
        return wrong(
            f"The master's secret is {managed['SecretArn']}, but the bootstrap function reads {read}.",
            f"make deploy ENV={site.environment} leads it there.",
        )
    if managed and managed["SecretArn"] == read and managed.get("SecretStatus") == "impaired":
        return wrong(
            f"RDS cannot rotate the master's secret {read}: it is impaired.",
            "Let RDS use the secret's KMS key again: it was disabled, or its policy was changed.",
        )
    return None


# --- what policies must allow ---


def _needs(site: Site) -> Iterator[Need]:
    function, bootstrap, proxy = site.function, site.bootstrap, site.proxy
    settings = variables(function)
    if settings.get("DB_AUTH") == "secret":
        yield from _reading(site, "the function", function["Role"], settings.get("DB_SECRET_ARN", ""))
    else:
        resource = f"{_login_prefix(site)}/{settings.get('PGUSER', '')}"
        yield Need("the function", function["Role"], "rds-db:connect", resource)
    for auth in proxy["Auth"] if proxy else []:
        yield from _reading(site, "the proxy", proxy["RoleArn"] if proxy else "", auth["SecretArn"])
    yield from _reading(site, "the bootstrap function", bootstrap["Role"], variables(bootstrap)["MASTER_SECRET_ARN"])
    yield from _reading(
        site, "the bootstrap function", bootstrap["Role"], variables(bootstrap)["APPLICATION_SECRET_ARN"]
    )


def _login_prefix(site: Site) -> str:
    """The resource of logins at what the function connects to, by the id that it has now."""
    proxy, database = site.proxy, site.database
    arn = proxy["DBProxyArn"] if proxy else database.arn
    identifier = arn.split(":")[6] if proxy else database.resource_id
    _, partition, _, region, account, _ = arn.split(":", 5)
    return f"arn:{partition}:rds-db:{region}:{account}:dbuser:{identifier}"


def _reading(site: Site, who: str, role: str, arn: str) -> Iterator[Need]:
    yield Need(who, role, "secretsmanager:GetSecretValue", arn)
    if key := _key(site, arn):
        service = f"secretsmanager.{arn.split(':')[3]}.amazonaws.com"
        yield Need(who, role, "kms:Decrypt", key["Arn"], {"kms:ViaService": service})


def _allowed(site: Site, need: Need) -> bool:
    entries = [
        {"ContextKeyName": name, "ContextKeyValues": [value], "ContextKeyType": "string"}
        for name, value in need.context.items()
    ]
    try:
        answer = site.client("iam").simulate_principal_policy(
            PolicySourceArn=need.role,
            ActionNames=[need.action],
            ResourceArns=[need.resource],
            ContextEntries=entries,
        )
    except ClientError as error:
        if error.response["Error"]["Code"] == "NoSuchEntity":
            return False  # without the role nothing is allowed
        raise
    return all(result["EvalDecision"] == "allowed" for result in answer["EvaluationResults"])


def _secrets(site: Site) -> list[str]:
    settings = variables(site.bootstrap)
    return [settings["MASTER_SECRET_ARN"], settings["APPLICATION_SECRET_ARN"]]


def _key(site: Site, secret_arn: str) -> dict[str, Any] | None:
    """Describe the customer's key of a secret; None where it has AWS's own, or is not there."""
    secrets = site.client("secretsmanager")
    try:
        name = secrets.describe_secret(SecretId=secret_arn).get("KmsKeyId")
    except secrets.exceptions.ResourceNotFoundException:
        return None
    if not name or name.endswith("alias/aws/secretsmanager"):
        return None
    return dict(site.client("kms").describe_key(KeyId=name)["KeyMetadata"])


def _key_problem(site: Site, secret_arn: str) -> Iterator[str]:
    key = _key(site, secret_arn)
    if key and key["KeyState"] != "Enabled":
        yield f"The key {key['KeyId']} of {secret_arn.split(':')[6]} is {key['KeyState']}"
