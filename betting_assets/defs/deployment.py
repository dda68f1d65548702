"""From champions to a service: a versioned Bento, proved on known answers, made current by one pointer."""

import json
import time
from typing import Any

import dagster as dg
import httpx

from betting_assets.defs.automation import follow_upstream, serve_champions
from betting_assets.defs.metadata import OWNERS
from betting_assets.defs.resources import Platform
from betting_assets.defs.training import champion_model, load_training_set
from betting_assets.embedded.ports import free_port
from betting_assets.modelling.markets import MARKETS
from betting_assets.warehouse import deployments

GROUP = "4_deployment"
CONFIRM_SECONDS = 90.0


@dg.asset(
    deps=[champion_model],
    group_name=GROUP,
    owners=OWNERS,
    kinds={"bentoml"},
    automation_condition=serve_champions(),
    pool="deployment",
)
def match_odds_bento(platform: dg.ResourceParam[Platform]) -> dg.MaterializeResult:
    """The champions of all markets as one versioned Bento, with answers that it must give when started."""
    from bentos.match_odds.build import build_bento
    from bentos.match_odds.known_answers import known_answers
    from betting_assets.modelling.registry import CHAMPION

    champions = {market: platform.registry.by_alias(market, CHAMPION) for market in MARKETS}
    found = {market: champion for market, champion in champions.items() if champion is not None}
    if not found:
        raise dg.Failure("no market has a champion yet: materialize champion_model first")
    known = []
    for market, champion in found.items():
        dataset, _ = load_training_set(platform, market, champion.tags["data_hash"])
        known += known_answers(champion.bundle(), dataset.frame.tail(200))
    versions = {market: champion.name for market, champion in found.items()}
    tag = build_bento({market: champion.folder for market, champion in found.items()}, versions, known, platform.home)
    deployment = deployments.propose(platform.url, tag, versions, [answer.model_dump(mode="json") for answer in known])
    return dg.MaterializeResult(
        metadata={"bento": tag, "deployment": deployment, "known_answers": len(known), "models": versions}
    )


@dg.asset(
    deps=[match_odds_bento],
    group_name=GROUP,
    owners=OWNERS,
    kinds={"bentoml", "postgres"},
    automation_condition=follow_upstream(),
    pool="deployment",
)
def live_deployment(context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform]) -> dg.MaterializeResult:
    """Start the newest Bento aside, check health and known answers, then move the pointer.

    Where a follower serves (`betting up`), wait until the public service answers with the new models.
    """
    from bentos.match_odds.follower import is_followed

    proposed = _newest_proposal(platform.url)
    seconds = _trial(platform, proposed)
    deployments.make_current(platform.url, proposed.id)
    followed = is_followed(platform.url)
    if followed:
        _wait_until_served(platform.settings.serving_port, proposed.bento_tag)
    context.log.info(f"{proposed.bento_tag} is current" + (" and serves" if followed else ""))
    return dg.MaterializeResult(
        metadata={
            "bento": proposed.bento_tag,
            "deployment": proposed.id,
            "models": proposed.market_versions,
            "known_answers": len(proposed.known_answers),
            "seconds_to_ready": round(seconds, 1),
            "served_at": f"port {platform.settings.serving_port}" if followed else "not served: start `betting up`",
        }
    )


def _newest_proposal(url: str) -> deployments.Deployment:
    """The newest deployment that is not live yet.

    Raises:
        dg.Failure: there is none; what is current stays.
    """
    for deployment in deployments.history(url, limit=1):
        if deployment.status in ("starting", "healthy"):
            return deployment
    raise dg.Failure("there is no new Bento to deploy: materialize match_odds_bento first")


def _trial(platform: Platform, proposed: deployments.Deployment) -> float:
    """Start on a spare port and ask for the known answers; refuse the deployment on any failure."""
    from bentos.match_odds.known_answers import KnownAnswer
    from bentos.match_odds.runner import RunningBento

    began = time.monotonic()
    try:
        with RunningBento(proposed.bento_tag, free_port(), platform.home, platform.url) as bento:
            seconds = time.monotonic() - began
            bento.ask_known([KnownAnswer.model_validate(answer) for answer in _parsed(proposed.known_answers)])
    except Exception as error:
        deployments.refuse(platform.url, proposed.id, f"{type(error).__name__}: {error}"[:500])
        raise
    deployments.mark_healthy(platform.url, proposed.id)
    return seconds


def _parsed(stored: Any) -> list[Any]:
    return list(json.loads(stored) if isinstance(stored, str) else stored)


def _wait_until_served(port: int, tag: str) -> None:
    """Wait until the public service names the Bento `tag`.

    Raises:
        dg.Failure: it does not within the time allowed; the pointer has moved all the same.
    """
    from bentos.match_odds.client import MatchOddsClient, MatchOddsError

    deadline, last = time.monotonic() + CONFIRM_SECONDS, "no answer"
    while time.monotonic() < deadline:
        try:
            with MatchOddsClient(f"http://127.0.0.1:{port}", timeout=2.0) as client:
                last = client.models().bento
                if last == tag:
                    return
        except (httpx.HTTPError, MatchOddsError) as error:
            last = str(error)
        time.sleep(0.5)
    raise dg.Failure(f"{tag} is current, but port {port} does not serve it after {CONFIRM_SECONDS:.0f} s: {last}")
