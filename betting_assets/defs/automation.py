"""When assets are made without anyone asking. Each condition names the incident that it prevents."""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg

from betting_assets.defs.due import CauseIsDue

AC = dg.AutomationCondition

STREAMED = "live_history"
"""What streams add to the history."""

CAUSE_CRON = "0 * * * *"
"""When the causes of a retraining are looked for though nothing is new."""


def follow_upstream() -> dg.AutomationCondition:
    """Materialize when something upstream is new, once all of it is there and its blocking checks passed.

    What streams tell is new when it comes, but nobody waits for it: most days have no match, and a platform may have no
    stream at all. Its blocking checks hold back only where they failed.

    Prevents: features built on a half-ingested season, and on rows that the expectations had just refused.
    """
    streamed = dg.AssetSelection.assets(STREAMED)
    refused = AC.any_deps_match(AC.any_checks_match(AC.check_failed(), blocking_only=True)).allow(streamed)
    return (
        AC.eager().replace("any_deps_missing", AC.any_deps_missing().ignore(streamed))
        & AC.all_deps_blocking_checks_passed().ignore(streamed)
        & ~refused.with_label("streamed rows were refused")
    ).with_label("follow_upstream")


def retrain(cooldown_minutes: float) -> dg.AutomationCondition:
    """Train a market anew for a cause: one of the checks drift, new_results, model_age and performance failed for it,
    and no training has dealt with that cause; or it was never trained. At most once in `cooldown_minutes`: a cause
    that is met meanwhile waits for the end, and several make one run. See `due.CauseIsDue`.

    Prevents: a training, with its point-in-time join, for every micro-batch of results on a match day; a check that
    keeps failing (new data do not mend a changed world) starting a training each time it is evaluated; the drift of
    one market training the other; a cause that is lost because the daemon was killed or the training was; a training
    that cannot work being tried every half minute; and training on features that the expectations had refused.
    """
    return (
        CauseIsDue(cooldown_minutes)
        & ~AC.in_progress()
        & ~AC.any_deps_missing()
        & ~AC.any_deps_in_progress()
        & AC.all_deps_blocking_checks_passed()
    ).with_label("retrain")


def look_for_cause(reads: Sequence[str]) -> dg.AutomationCondition:
    """Run a check for a cause when one of the assets that it reads is new, and at every tick of CAUSE_CRON.

    Prevents: a model that grows old while nothing happens, which no event would tell; and a second run of a check that
    ran behind its report in the same micro-batch.
    """
    tick = AC.cron_tick_passed(CAUSE_CRON)
    report = AC.any_deps_updated().allow(dg.AssetSelection.assets(*reads)) if reads else None
    due = (tick if report is None else tick | report).since(AC.newly_requested() | AC.newly_updated())
    held = AC.in_progress() | AC.any_deps_in_progress()
    return (due.with_label("due") & ~held).with_label("look_for_cause")


def after_gate() -> dg.AutomationCondition:
    """Evaluate and promote one market when its candidate is new and every check of its gate passed.

    Prevents: a challenger being served because its evaluation ran, though the gate refused it.
    """
    return (AC.eager() & AC.all_deps_blocking_checks_passed()).with_label("after_gate")


def serve_champions(champion: str) -> dg.AutomationCondition:
    """Build a Bento when a champion is new, of whatever markets have one; or when a candidate was evaluated that did
    not become champion: it goes along as challenger.

    Prevents: a market that never passed its gate keeping the others from being served, as `eager` would, which waits
    for every partition; two builds where several markets are being promoted, or a candidate is about to be; and a
    build that can only fail, before there is any champion.
    """
    new = AC.any_deps_updated().since(AC.newly_requested() | AC.newly_updated()).with_label("new model")
    any_champion = AC.any_deps_match(~AC.missing()).allow(dg.AssetSelection.assets(champion))
    return (
        new
        & any_champion.with_label("there is a champion")
        & ~AC.in_progress()
        & ~AC.any_deps_in_progress()
        & ~AC.any_deps_match(AC.will_be_requested())
    ).with_label("serve_champions")


def watch_store(asset: str, cron: str) -> dg.AutomationCondition:
    """Run a check of `asset` when it was made, and at every tick of `cron` though nothing was made.

    Nothing is judged while the asset is being made: features that are written, and not yet served, are no fault then.

    Prevents: a store going stale unseen because its materialization has stopped, where a check that only follows the
    materializations stops with them, and the last verdict stays green.
    """
    only = dg.AssetSelection.assets(asset)
    made = AC.any_deps_updated().allow(only).with_label("asset was made")
    due = (AC.cron_tick_passed(cron) | made).since(AC.newly_requested() | AC.newly_updated()).with_label("due")
    return (
        due & ~AC.in_progress() & ~AC.any_deps_in_progress().allow(only) & ~AC.any_deps_missing().allow(only)
    ).with_label("watch_store")
