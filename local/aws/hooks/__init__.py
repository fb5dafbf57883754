"""From moto's calls to what is real: each hook leads a call to the events of the account, or to its functions."""

from local.aws.account import Events
from local.aws.event_sources import EventSources
from local.aws.functions import Functions
from local.aws.hooks import calls, clusters, event_sources, functions, http_apis, instances, proxies
from local.aws.hooks.calls import Refusals
from local.aws.http_apis import HttpApis
from local.aws.iam import Iam
from local.aws.moto import Moto


def hook(
    moto: Moto,
    events: Events,
    *,
    iam: Iam,
    refusals: Refusals,
    runs: Functions,
    http: HttpApis,
    sources: EventSources,
) -> None:
    """Set all hooks."""
    calls.hook(moto, iam, refusals)
    instances.hook(moto, events)
    clusters.hook(moto, events)
    proxies.hook(moto, events)
    functions.hook(moto, events, runs)
    http_apis.hook(moto, http)
    event_sources.hook(moto, sources)
