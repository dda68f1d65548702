"""When assets are made without anyone asking. Each condition names the incident that it prevents."""

from __future__ import annotations

import dagster as dg

AC = dg.AutomationCondition


def follow_upstream() -> dg.AutomationCondition:
    """Materialize when something upstream is new, once all of it is there and its blocking checks passed.

    Prevents: features built on a half-ingested season, and on rows that the expectations had just refused.
    """
    return (AC.eager() & AC.all_deps_blocking_checks_passed()).with_label("follow_upstream")


def retrain(cron: str) -> dg.AutomationCondition:
    """Train anew when the drift check failed or new features came, at most once in each slot of `cron`.

    A cause waits for the next slot, and all causes of one slot make one run. A drift check that runs together with the
    training speaks of the model before it, so it is no cause.

    Prevents: a drift check that keeps failing (new data do not mend a changed world) starting a training each time it
    is evaluated; and training on features that the expectations had refused.
    """
    failed = AC.any_checks_match(AC.check_failed() & AC.newly_updated())
    drifted = (failed & ~AC.newly_updated()).with_label("drift check failed")
    new_features = AC.any_deps_updated().with_label("new training data")
    due = (drifted | new_features).since(AC.newly_requested() | AC.newly_updated()).with_label("due")
    return (
        (AC.cron_tick_passed(cron) | AC.missing()).with_label("slot of the cooldown, or the first training")
        & due
        & ~AC.in_progress()
        & ~AC.any_deps_missing()
        & ~AC.any_deps_in_progress()
        & AC.all_deps_blocking_checks_passed()
    ).with_label("retrain")


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
    due = (AC.cron_tick_passed(cron) | made).since(AC.newly_requested()).with_label("due")
    return (
        due & ~AC.in_progress() & ~AC.any_deps_in_progress().allow(only) & ~AC.any_deps_missing().allow(only)
    ).with_label("watch_store")
