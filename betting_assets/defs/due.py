"""Which markets are to be trained now: the condition that counts minutes and causes, which Dagster's own cannot.

It asks the event log, so a daemon that was killed forgets nothing. Only when it asked for a training itself, and how
often in vain, it keeps in the cursor of its sensor, which Dagster stores together with the runs that were asked for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import dagster as dg

from betting_assets.defs.cause_log import last_moved, last_trained, seen
from betting_assets.modelling.causes import Attempt, is_due


@dataclass(frozen=True)
class Asked:
    """When a training was last asked for, and how many were since the last one that came to its end."""

    at: float = 0.0
    times: int = 0


class CauseIsDue(dg.AutomationCondition[dg.AssetKey]):
    """True for each market that has a cause which no training has dealt with, once the cooldown is over.

    See `modelling.causes.is_due`. A sensor evaluates it in the code location (use_user_code_server).
    """

    def __init__(self, cooldown_minutes: float) -> None:
        self.cooldown_minutes = cooldown_minutes

    @property
    def name(self) -> str:
        """Without the cooldown: the cursor goes by the name."""
        return "cause_is_due"

    @property
    def description(self) -> str:
        return f"Never trained, or a cause without a training; {self.cooldown_minutes:g} minutes after the last one"

    def evaluate(self, context: dg.AutomationContext[dg.AssetKey]) -> dg.AutomationResult[dg.AssetKey]:
        view = context.asset_graph_view
        instance, now = view.instance, context.evaluation_time.timestamp()
        markets = sorted(view.get_full_subset(key=context.key).expensively_compute_partition_keys())
        asked, due = _asked(context), set()
        for market in markets:
            last, asked[market] = attempt(instance, market, asked.get(market, Asked()))
            if is_due(seen(instance, market), last, now, self.cooldown_minutes):
                due.add(market)
        partitions = context.partitions_def
        assert partitions is not None
        subset = view.get_subset_from_partition_keys(context.key, partitions, due)
        return dg.AutomationResult(
            context, true_subset=context.candidate_subset.compute_intersection(subset), cursor=_written(asked)
        )


def attempt(instance: dg.DagsterInstance, market: str, asked: Asked) -> tuple[Attempt | None, Asked]:
    """The newest training, asked for here or by a person; and `asked` with the count begun anew if it was finished."""
    made = last_trained(instance, market)
    if made is None and not asked.times:
        return None, asked
    at = max(asked.at, made.began if made else 0.0)
    mine = made.handled if made is not None and made.began >= at else {}
    finished = made is not None and made.judged >= at
    kept = Asked(asked.at, 0) if finished else asked
    moved = 0.0 if finished else last_moved(instance, market)
    return Attempt(at, mine, finished, moved, failures=max(0, kept.times - 1)), kept


def _asked(context: dg.AutomationContext[dg.AssetKey]) -> dict[str, Asked]:
    """As the cursor has it, and the requests of the tick before."""
    asked = {market: Asked(*values) for market, values in json.loads(context.cursor or "{}").items()}
    before = context.get_previous_requested_subset(context.root_context.key)
    when = context.previous_evaluation_time
    if before is not None and when is not None:
        for market in before.expensively_compute_partition_keys():
            asked[market] = Asked(when.timestamp(), asked.get(market, Asked()).times + 1)
    return asked


def _written(asked: Mapping[str, Asked]) -> str:
    return json.dumps({market: [one.at, one.times] for market, one in asked.items()})
