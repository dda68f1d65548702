"""The real graph with bodies that do nothing: keys, dependencies, partitions, checks and conditions are the real ones.

So the automation can be watched for days of its own clock in seconds.
"""

import datetime as dt
import uuid
from collections.abc import Iterable, Iterator
from typing import Any

import dagster as dg
from dagster._core.test_utils import freeze_time

from betting_assets.defs.cause_log import PARTITION_TAG, TRAINING_SET, as_metadata, trained_metadata
from betting_assets.modelling.causes import CauseName, Finding
from betting_assets.modelling.markets import MARKETS

SUBJECT_TO_CRON = dt.datetime(2026, 1, 1, 0, 30, tzinfo=dt.UTC)


class StandIns:
    """A graph of stand-ins on an instance and a clock of its own.

    `failing` holds the checks that fail now, as (asset:name, partition); the partition is None where there is none.
    `causes` holds the causes to retrain that hold now, as (market, cause), with what they are about.
    `broken` holds the assets whose body raises.
    """

    def __init__(self, real: dg.Definitions) -> None:
        graph = real.resolve_asset_graph()
        checks = [graph.get_check_spec(key) for key in graph.asset_check_keys]
        self.failing: set[tuple[str, str | None]] = set()
        self.causes: dict[tuple[str, CauseName], str] = {}
        self.broken: set[str] = set()
        self._watch = [spec for spec in checks if spec.additional_deps or spec.automation_condition]
        inside = [spec for spec in checks if spec not in self._watch]
        self._assets = [
            self._asset(spec, [check for check in inside if check.asset_key == spec.key])
            for spec in real.resolve_all_asset_specs()
        ]
        self._checks = [self._check(spec) for spec in self._watch]
        self._definitions = dg.Definitions(assets=self._assets, asset_checks=self._checks)
        self._instance = dg.DagsterInstance.ephemeral()
        self._cursor: Any = None
        self._now = SUBJECT_TO_CRON

    def __enter__(self) -> "StandIns":
        self._instance.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._instance.__exit__(*error)

    def add_partitions(self, leagues: list[str], seasons: list[str]) -> None:
        self._instance.add_dynamic_partitions("league", leagues)
        self._instance.add_dynamic_partitions("season", seasons)

    def tick(self, hours: float = 0) -> dict[str, set[str] | None]:
        """Let `hours` and a minute pass, evaluate; what is requested: partitions by asset, None where it has none."""
        self._now += dt.timedelta(hours=hours, minutes=1)
        with freeze_time(self._now):
            result = dg.evaluate_automation_conditions(
                self._definitions, self._instance, cursor=self._cursor, evaluation_time=self._now
            )
        self._cursor = result.cursor
        asked = [one for one in result.results if one.true_subset.size]
        return {
            one.key.to_user_string(): set(one.true_subset.expensively_compute_partition_keys())
            if one.true_subset.is_partitioned
            else None
            for one in asked
        }

    def forget(self) -> None:
        """The daemon's cursor is lost."""
        self._cursor = None

    def make(self, *assets: str, partition: str | None = None, watched_by: Iterable[str] = ()) -> bool:
        """Materialize assets together with the checks that are made beside them; whether the run went well.

        `watched_by` names checks, as asset:name, that stand by themselves and run after their asset in the same run.
        """
        chosen = dg.AssetSelection.assets(*assets) - dg.AssetSelection.checks(*(spec.key for spec in self._watch))
        for check in watched_by:
            chosen |= dg.AssetSelection.checks(dg.AssetCheckKey.from_user_string(check))
        return self._execute(chosen, partition)

    def check(self, asset: str, name: str) -> bool:
        """Run one check that stands by itself."""
        key = dg.AssetCheckKey(dg.AssetKey(asset), name)
        return self._execute(dg.AssetSelection.checks(key), None)

    def begin(self, partition: str) -> dg.DagsterRun:
        """A run of one partition that is under way from now on."""
        tags = {PARTITION_TAG: partition}
        run = dg.DagsterRun("slow", run_id=str(uuid.uuid4()), tags=tags, status=dg.DagsterRunStatus.STARTED)
        with freeze_time(self._now):
            return self._instance.add_run(run)

    def end(self, run: dg.DagsterRun) -> None:
        """It dies."""
        with freeze_time(self._now):
            self._instance.report_run_failed(run, "it was killed")

    def follow(self, partition: str | None = None, most: int = 12) -> list[set[str]]:
        """Tick and do what is asked, again and again, until nothing is asked; what was asked, tick by tick.

        Partitioned assets are made in one run for each partition, the rest in one run, as the daemon does it.
        """
        story = []
        while asked := self.tick():
            story.append(set(asked))
            assert len(story) < most, f"the automation does not come to rest: {story}"
            self.do(asked)
        return story

    def do(self, asked: dict[str, set[str] | None]) -> None:
        """What a tick asked for, each set of partitions in a run of its own; a check goes with its asset's run."""
        whole = [asset for asset, partitions in asked.items() if partitions is None]
        checks = [check for check in whole if ":" in check]
        beside = [check for check in checks if check.split(":")[0] in whole]
        for check in set(checks) - set(beside):
            self.check(*check.split(":"))
        if assets := [asset for asset in whole if ":" not in asset]:
            self.make(*assets, watched_by=beside)
        for partition in sorted(set().union(*(p for p in asked.values() if p))):
            self.make(*(asset for asset, p in asked.items() if p and partition in p), partition=partition)

    def _execute(self, selection: dg.AssetSelection, partition: str | None) -> bool:
        with freeze_time(self._now):
            return dg.materialize(
                [*self._assets, *self._checks],
                selection=selection,
                instance=self._instance,
                partition_key=partition,
                raise_on_error=False,
                run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            ).success

    def _asset(self, spec: dg.AssetSpec, checks: list[dg.AssetCheckSpec]) -> dg.AssetsDefinition:
        @dg.multi_asset(name=spec.key.path[-1], specs=[spec], check_specs=checks)
        def body(context: dg.AssetExecutionContext) -> Iterator[Any]:
            if spec.key.to_user_string() in self.broken:
                raise dg.Failure("it is broken")
            metadata = self._trained(context.partition_key) if spec.key == TRAINING_SET else {}
            yield dg.MaterializeResult(asset_key=spec.key, metadata=metadata)
            for check in checks:
                partition = context.partition_key if check.partitions_def and context.has_partition_key else None
                yield self._verdict(check, partition)

        return body

    def _check(self, spec: dg.AssetCheckSpec) -> dg.AssetChecksDefinition:
        @dg.asset_check(
            asset=spec.asset_key,
            name=spec.name,
            additional_deps=list(spec.additional_deps),
            automation_condition=spec.automation_condition,
        )
        def body() -> dg.AssetCheckResult:
            return self._verdict(spec, None)

        return body

    def _verdict(self, spec: dg.AssetCheckSpec, partition: str | None) -> dg.AssetCheckResult:
        failed = (spec.key.to_user_string(), partition) in self.failing
        severity = dg.AssetCheckSeverity.ERROR if spec.blocking else dg.AssetCheckSeverity.WARN
        if spec.asset_key == TRAINING_SET:
            return self._cause(CauseName(spec.name))
        return dg.AssetCheckResult(asset_key=spec.asset_key, check_name=spec.name, passed=not failed, severity=severity)

    def _finding(self, market: str, cause: CauseName) -> Finding:
        about = self.causes.get((market, cause))
        return Finding(cause, about is not None, about or "", "as the test says")

    def _cause(self, cause: CauseName) -> dg.AssetCheckResult:
        found = {market: self._finding(market, cause) for market in MARKETS}
        passed = not any(one.holds for one in found.values())
        severity = dg.AssetCheckSeverity.WARN
        return dg.AssetCheckResult(
            asset_key=TRAINING_SET,
            check_name=cause.value,
            passed=passed,
            severity=severity,
            metadata=as_metadata(found),
        )

    def _trained(self, market: str) -> dict[str, Any]:
        """The metadata of the real training set."""
        findings = [self._finding(market, cause) for cause in CauseName]
        return trained_metadata(self._now.timestamp(), findings, "as the test says")
