"""Event source mappings: one that is made polls, until it is deleted."""

from __future__ import annotations

from typing import Any

from moto.awslambda.models import LambdaBackend

from local.aws.event_sources import EventSources
from local.aws.moto import Method, Moto


def hook(moto: Moto, sources: EventSources) -> None:
    """Open and close pollers."""

    @moto.around(LambdaBackend, "create_event_source_mapping")
    def create(original: Method, self: Any, spec: Any) -> Any:
        mapping = original(self, spec)
        if mapping.event_source_arn.split(":")[2] == "sqs":
            sources.open(mapping)
        return mapping

    @moto.around(LambdaBackend, "delete_event_source_mapping")
    def delete(original: Method, self: Any, uuid: str) -> Any:
        sources.close(uuid)
        return original(self, uuid)
