"""What moto does anew for each request and each account, done once."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

from moto.core import responses
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.core.utils import method_names_from_class
from moto.iam import models as iam
from moto.moto_server.werkzeug_app import DomainDispatcherApplication

from local.aws.moto import Method, Moto

_policies: dict[str, list[Any]] = {}  # by partition


def correct(moto: Moto) -> None:
    """Apply the corrections of this room."""
    a_key_is_looked_up_where_there_are_keys(moto)
    policies_of_aws_are_read_once(moto)
    a_host_leads_to_a_service_once(moto)
    a_class_is_searched_for_its_methods_once(moto)


def a_key_is_looked_up_where_there_are_keys(moto: Moto) -> None:
    """moto makes the backend of each partition of each account, with all policies of AWS, to look for a key in it."""

    def get_account_id_from(access_key: str) -> str:
        for account_id, account in list(iam.iam_backends.items()):
            if any(access_key in backend.access_keys for backend in list(account.values())):
                return str(account_id)
        return DEFAULT_ACCOUNT_ID

    moto.set(iam, "get_account_id_from", get_account_id_from)


def policies_of_aws_are_read_once(moto: Moto) -> None:
    """moto reads 1,600 policies of AWS from one text for each account, partition and control plane."""

    @moto.around(iam.IAMBackend, "_init_aws_policies")
    def policies(original: Method, self: Any) -> list[Any]:
        if self.region_name not in _policies:
            _policies[self.region_name] = original(self)
        found = list(map(copy.copy, _policies[self.region_name]))
        for policy in found:
            policy.account_id = self.account_id
        return found


def a_host_leads_to_a_service_once(moto: Moto) -> None:
    """moto tries the patterns of 200 services for each request."""
    original = DomainDispatcherApplication.get_backend_for_host

    @cache
    def service(self: Any, host: str | None) -> Any:
        return original(self, host)

    moto.set(DomainDispatcherApplication, "get_backend_for_host", service)


def a_class_is_searched_for_its_methods_once(moto: Moto) -> None:
    """moto inspects the class of the service for each request."""
    moto.set(responses, "method_names_from_class", cache(method_names_from_class))
