"""What the control plane's IAM knows of roles, their sessions and their policies."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC
from typing import Any
from urllib.parse import unquote

from moto.core.exceptions import AccessDeniedError, JsonRESTError
from moto.iam.exceptions import NotFoundException
from moto.iam.models import iam_backends
from moto.kms.models import kms_backends
from moto.secretsmanager.models import secretsmanager_backends
from moto.sts.models import AssumedRole, sts_backends

from local.aws import iam_policies
from local.aws.iam_policies import Context, Document
from local.aws.reachability import Call, refusal
from local.credentials import Credentials

_SECRET_READS = {"GetSecretValue"}
_SECRET_WRITES = {"PutSecretValue", "UpdateSecret"}


class SecretRefused(Exception):  # noqa: N818 (an answer, not a fault)
    """Why a role cannot read a secret."""


class Iam:
    """Answer for moto's roles."""

    def __init__(self) -> None:
        self._functions: dict[str, str] = {}

    def assume_role(self, role_arn: str, *, session: str, seconds: int, function_arn: str) -> AssumedRole:
        """Start a session as Lambda does for a function."""
        _, partition, _, _, account, _ = role_arn.split(":", 5)
        region = function_arn.split(":")[3]
        role = sts_backends[account][partition].assume_role(region, session, role_arn, "", seconds, "")
        self._functions[role.access_key_id] = function_arn
        return role

    def credentials_of(self, access_key_id: str) -> Credentials | None:
        """Return the credentials of a role's session; keys that STS did not issue are unknown."""
        session = _session(access_key_id)
        if session is None:
            return None
        return Credentials(
            access_key_id=session.access_key_id,
            secret_access_key=session.secret_access_key,
            session_token=session.session_token,
            expires_at=session.expiration.replace(tzinfo=UTC),
            principal_arn=session.arn,
        )

    def allows(self, credentials: Credentials, action: str, resource: str) -> bool:
        """Tell whether the policies of the role that has the credentials allow this."""
        session = _session(credentials.access_key_id)
        return session is not None and self.session_allows(session, action, resource)

    def session_allows(
        self, session: AssumedRole, action: str, resource: str | None, context: Context | None = None
    ) -> bool:
        context = {"aws:PrincipalArn": session.role_arn, **(context or {})}
        if function_arn := self._functions.get(session.access_key_id):
            context["lambda:SourceFunctionArn"] = function_arn
        limit = [json.loads(session.policy)] if session.policy else None
        return (limit is None or iam_policies.allows(limit, action, resource, context)) and role_allows(
            session.role_arn, action, resource, context
        )

    def authorize(self, request: Any) -> None:
        """Refuse a call that is signed with a role's session whose policies do not allow it.

        The resource is known for Secrets Manager and KMS; of other services only the action is checked. That the
        session is real and not expired was checked on the way in; keys that STS did not issue are the administrator's.
        """
        session = _session(request.get_access_key())
        if session is None:
            return
        service, action = request.boto3_service_name, request._get_action()
        if (service, action) == ("sts", "GetCallerIdentity"):
            return  # needs no permission
        for needed, resource, context in _needs(request, service, action):
            if not self.session_allows(session, needed, resource, context):
                raise _denied(request, session.arn, needed, resource)
        if function_arn := self._functions.get(session.access_key_id):
            needed, resource, _ = next(_needs(request, service, action))
            call = Call(function_arn, service, needed, resource or "*", session.role_arn, session.arn)
            if because := refusal(call):
                raise _denied(request, session.arn, needed, resource, because)

    def read_secret(self, role_arn: str, secret_arn: str) -> dict[str, str]:
        """Read a secret as RDS Proxy does with its role: rds may assume it, and it may read and decrypt."""
        role = _role(role_arn)
        if role is None or not iam_policies.trusts(json.loads(role.assume_role_policy_document), "rds.amazonaws.com"):
            raise SecretRefused(f"{role_arn} cannot be assumed by rds.amazonaws.com")
        _, _, _, region, account, _ = secret_arn.split(":", 5)
        secret = secretsmanager_backends[account][region].secrets.get(secret_arn)
        if secret is None:
            raise SecretRefused(f"{secret_arn} does not exist")
        for action, resource, context in _secret_needs(secret, account, region, "GetSecretValue"):
            if not role_allows(role_arn, action, resource, context):
                raise SecretRefused(f"{role_arn} is not authorized to perform {action} on {resource}")
        try:
            value: dict[str, str] = json.loads(current_value(secret_arn))
        except (JsonRESTError, ValueError) as error:
            raise SecretRefused(f"{secret_arn} has no usable value") from error
        return value


def role_allows(role_arn: str, action: str, resource: str | None, context: Context | None = None) -> bool:
    """Tell whether a role's own and attached policies, and its boundary, allow this."""
    role = _role(role_arn)
    if role is None:
        return False
    managed = [_document(policy) for policy in list(role.managed_policies.values())]
    groups = [[*role.policies.values(), *managed]]
    if boundary := role.permissions_boundary_arn:
        groups.append([_document(iam_backends[role.account_id][role.partition].get_policy(boundary))])
    by_iam = all(
        iam_policies.allows([_parsed(document) for document in group], action, resource, context) for group in groups
    )
    if action.startswith("kms:") and resource and ":key/" in resource:
        return _key_allows(resource, role_arn, action, context, by_iam=by_iam)
    return by_iam


def _key_allows(key_arn: str, role_arn: str, action: str, context: Context | None, *, by_iam: bool) -> bool:
    """Ask a key's own policy: what it grants the account counts where IAM grants it as well.

    KMS Developer Guide, "Key policies in AWS KMS" and "Default key policy": no principal may use a key, whatever IAM
    says, unless the key's policy lets it, directly or through the account.
    """
    _, _, _, region, account, _ = key_arn.split(":", 5)
    policy = _parsed(kms_backends[account][region].describe_key(key_arn).policy)
    mine = iam_policies.effects(policy, {"AWS": (role_arn,)}, action, key_arn, context)
    ours = iam_policies.effects(policy, iam_policies.account(key_arn), action, key_arn, context)
    return "Deny" not in mine and ("Allow" in mine or (by_iam and "Allow" in ours))


def current_value(secret_arn: str) -> str:
    """Return the string that is AWSCURRENT in a secret."""
    _, _, _, region, account, _ = secret_arn.split(":", 5)
    value: str = secretsmanager_backends[account][region].get_secret_value(secret_arn, "", "AWSCURRENT")["SecretString"]
    return value


def _needs(request: Any, service: str, action: str) -> Iterator[tuple[str, str | None, dict[str, str]]]:
    """What a call must be allowed: action, resource (None: not known here), context."""
    account, region = request.current_account, request.region
    if service == "secretsmanager":
        secret_id = request._get_param("SecretId")
        if secret_id is None:
            yield f"secretsmanager:{action}", None if action == "CreateSecret" else "*", {}
        elif secret := secretsmanager_backends[account][region].secrets.get(secret_id):
            yield from _secret_needs(secret, account, region, action)
        else:
            yield f"secretsmanager:{action}", secret_id, {}
    elif service == "kms" and request._get_param("KeyId"):
        yield f"kms:{action}", kms_backends[account][region].describe_key(request._get_param("KeyId")).arn, {}
    else:
        yield f"{service}:{ {'Invoke': 'InvokeFunction'}.get(action, action) }", None, {}


def _secret_needs(
    secret: Any, account: str, region: str, action: str
) -> Iterator[tuple[str, str | None, dict[str, str]]]:
    """A secret under a customer's key needs the key as well; Secrets Manager asks KMS for it in the caller's name."""
    yield f"secretsmanager:{action}", secret.arn, {}
    if not secret.kms_key_id or secret.kms_key_id == "alias/aws/secretsmanager":
        return
    key_arn = kms_backends[account][region].describe_key(secret.kms_key_id).arn
    context = {
        "kms:ViaService": f"secretsmanager.{region}.amazonaws.com",
        "kms:CallerAccount": account,
        "kms:EncryptionContext:SecretARN": secret.arn,
    }
    if action in _SECRET_READS | _SECRET_WRITES:
        yield "kms:Decrypt", key_arn, context
    if action in _SECRET_WRITES:
        yield "kms:GenerateDataKey", key_arn, context


def _denied(
    request: Any,
    principal: str,
    action: str,
    resource: str | None,
    because: str = "because no identity-based policy allows the action",
) -> Exception:
    on = f" on resource: {resource}" if resource else ""
    if "x-www-form-urlencoded" in (request.headers.get("Content-Type") or ""):
        return AccessDeniedError(principal, f"{action}{on} {because}")
    message = f"User: {principal} is not authorized to perform: {action}{on} {because}"
    return JsonRESTError("AccessDeniedException", message)


def _session(access_key_id: str) -> AssumedRole | None:
    for account in list(sts_backends.values()):
        for backend in list(account.values()):
            if session := backend.get_assumed_role_from_access_key(access_key_id):
                return session
    return None


def _role(role_arn: str) -> Any:
    _, partition, _, _, account, _ = role_arn.split(":", 5)
    try:
        return iam_backends[account][partition].get_role_by_arn(role_arn)
    except NotFoundException:
        return None


def _document(policy: Any) -> str:
    return next(str(version.document) for version in policy.versions if version.is_default)


def _parsed(document: str) -> Document:
    parsed: Document = json.loads(document if document.lstrip().startswith("{") else unquote(document))
    return parsed
