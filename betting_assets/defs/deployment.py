"""From champions to a service: a versioned Bento, proved on known answers, made current by one pointer."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from betting_assets.defs.automation import follow_upstream, serve_champions
from betting_assets.defs.metadata import OWNERS
from betting_assets.defs.resources import Platform
from betting_assets.defs.training import champion_model, load_training_set, model_evaluation
from betting_assets.embedded.ports import free_port
from betting_assets.modelling.markets import MARKETS
from betting_assets.warehouse import deployments, workers
from betting_assets.warehouse.confirmation import Confirmation, await_workers

if TYPE_CHECKING:
    from betting_assets.modelling.registry import Registered

GROUP = "4_deployment"
CONFIRM_SECONDS = 180.0
"""Other code is started, proved, let in and the old one drained before it is confirmed."""


@dg.asset(
    deps=[champion_model, model_evaluation],
    group_name=GROUP,
    owners=OWNERS,
    kinds={"bentoml"},
    automation_condition=serve_champions("champion_model"),
    pool="deployment",
)
def match_odds_bento(context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform]) -> dg.MaterializeResult:
    """The champions of all markets as one versioned Bento, with their challengers and answers that it must give."""
    from bentos.match_odds.deploying.build import bento_code, build_bento
    from bentos.match_odds.model.known_answers import known_answers
    from betting_assets.modelling.registry import CHAMPION

    champions = {market: platform.registry.by_alias(market, CHAMPION) for market in MARKETS}
    found = {market: champion for market, champion in champions.items() if champion is not None}
    if not found:
        raise dg.Failure("no market has a champion yet: materialize champion_model first")
    known = []
    for market, champion in found.items():
        dataset, _ = load_training_set(platform, market, champion.tags["data_hash"])
        known += known_answers(champion.bundle(), dataset.frame.tail(200))
    versions, challengers = _names(found), _challengers(context, platform, found)
    tag = build_bento(_folders(found), versions, known, platform.home, _folders(challengers), _names(challengers))
    code = bento_code(tag, platform.home)
    answers = [answer.model_dump(mode="json") for answer in known]
    deployment = deployments.propose(platform.url, tag, versions, answers, code)
    return dg.MaterializeResult(
        metadata={
            "bento": tag,
            "deployment": deployment,
            "known_answers": len(known),
            "models": versions,
            "challengers": _names(challengers),
            "code": code,
        }
    )


def _challengers(
    context: dg.AssetExecutionContext, platform: Platform, champions: "Mapping[str, Registered]"
) -> "dict[str, Registered]":
    """The newest candidates that are not champions, promoted or refused alike: they score beside, to gather evidence.

    One that cannot be loaded is left out: it must not keep the champions from being served.
    """
    from betting_assets.modelling.registry import CHALLENGER

    found = {}
    for market, champion in champions.items():
        challenger = platform.registry.by_alias(market, CHALLENGER)
        if challenger is None or challenger.version == champion.version:
            continue
        try:
            challenger.bundle()
        except (OSError, ValueError, KeyError) as error:
            context.log.warning(f"{challenger.name} cannot be loaded and is left out: {type(error).__name__}: {error}")
            continue
        found[market] = challenger
    return found


def _folders(models: "Mapping[str, Registered]") -> dict[str, Path]:
    return {market: model.folder for market, model in models.items()}


def _names(models: "Mapping[str, Registered]") -> dict[str, str]:
    return {market: model.name for market, model in models.items()}


@dg.asset(
    deps=[match_odds_bento],
    group_name=GROUP,
    owners=OWNERS,
    kinds={"bentoml", "postgres"},
    automation_condition=follow_upstream(),
    pool="deployment",
)
def live_deployment(context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform]) -> dg.MaterializeResult:
    """Prove the newest Bento, move the pointer, and wait until every worker serves it.

    Where the code is that of the running service, its workers swap models in place, and a proof in this process will
    do. Otherwise the Bento is started aside first, and the supervisor (`betting up`) starts it anew afterwards. A
    worker that refuses the models rolls the deployment back.
    """
    from bentos.match_odds.deploying.follower import is_followed

    proposed = _newest_proposal(platform.url)
    trial = _trial(platform, proposed)
    deployments.make_current(platform.url, proposed.id)
    supervised = is_followed(platform.url)
    served = await_workers(platform.url, proposed.id, CONFIRM_SECONDS, supervised=supervised)
    if not served.is_served:
        raise dg.Failure(_not_served(platform.url, served))
    context.log.info(f"{proposed.bento_tag} is current: {served.why}")
    port = platform.settings.serving_port
    return dg.MaterializeResult(
        metadata={
            "bento": proposed.bento_tag,
            "deployment": proposed.id,
            "models": proposed.market_versions,
            "known_answers": len(proposed.known_answers),
            "trial": trial.how,
            "seconds_to_ready": round(trial.seconds, 1),
            "seconds_to_confirm": round(served.seconds, 1),
            "workers": [worker.worker for worker in served.confirmed],
            "workers_of_other_code": [worker.worker for worker in served.others],
            "served_at": f"port {port}" if served.confirmed else "not served: start `betting up`",
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


@dataclass(frozen=True)
class Trial:
    how: str
    seconds: float


def _trial(platform: Platform, proposed: deployments.Deployment) -> Trial:
    """Ask for the known answers before anyone else does; refuse the deployment on any failure."""
    began = time.monotonic()
    in_place = _is_swapped_in_place(platform.url, proposed)
    try:
        (_load_here if in_place else _start_aside)(platform, proposed)
    except Exception as error:
        deployments.refuse(platform.url, proposed.id, f"{type(error).__name__}: {error}"[:500])
        raise
    deployments.mark_healthy(platform.url, proposed.id)
    return Trial("loaded in this process" if in_place else "started aside", time.monotonic() - began)


def _is_swapped_in_place(url: str, proposed: deployments.Deployment) -> bool:
    """Whether only models change, under workers of the same code."""
    current = deployments.current(url)
    same_code = current is not None and current.code == proposed.code
    return same_code and any(worker.code == proposed.code for worker in workers.live(url))


def _load_here(platform: Platform, proposed: deployments.Deployment) -> None:
    from bentos.match_odds.deploying.build import champions_folder
    from bentos.match_odds.deploying.following import prove
    from bentos.match_odds.model.served import load_served

    folder = champions_folder(proposed.bento_tag, platform.home).parent
    prove(load_served(proposed.bento_tag, folder, proposed.id), proposed)


def _start_aside(platform: Platform, proposed: deployments.Deployment) -> None:
    from bentos.match_odds.deploying.runner import RunningBento
    from bentos.match_odds.model.known_answers import KnownAnswer

    with RunningBento(proposed.bento_tag, free_port(), platform.home, platform.url) as bento:
        bento.ask_known([KnownAnswer.model_validate(answer) for answer in proposed.known_answers])


def _not_served(url: str, served: Confirmation) -> str:
    """Withdraw what a worker refused, and tell in one line what is wrong and what serves."""
    proposed, what = served.deployment, f"{served.deployment.bento_tag} is not served: {served.why}"
    if not served.is_current:
        return what
    if not served.refused:
        return f"{what}, after {served.seconds:.0f} s; it is current all the same"
    try:
        back = deployments.withdraw(url, proposed.id, served.why[:500])
    except deployments.DeploymentError as error:
        return f"{what}; it could not be rolled back: {error}"
    if back is None:
        return f"{what}; there is none before it, workers serve their own models"
    again = await_workers(url, back.id, CONFIRM_SECONDS, supervised=served.supervised)
    return f"{what}; rolled back to {back.bento_tag}: {again.why}"
