"""The automation sensor with the memory that Dagster loses where it resumes a tick (seen with 1.13.27)."""

from __future__ import annotations

import json
from typing import Any

import dagster as dg


class AutomationSensor(dg.AutomationConditionSensorDefinition):
    """Evaluates conditions in the code location; its cursor survives a tick that was cut off.

    A tick whose runs were asked for, and not all launched, is resumed when the daemon comes back. Dagster keeps no
    cursor with the ticks of this kind of sensor, so the sensor is without one afterwards: its conditions begin anew,
    and what was updated up to the next tick is never acted upon. So the cursor is kept here as well.
    """

    def evaluate_tick(self, context: dg.SensorEvaluationContext) -> Any:
        """As Dagster does; where it has no cursor, from that of the newest tick whose runs were asked for."""
        kept = {} if context.cursor is not None else self._carried_out(context.instance)
        found = context if not kept else self._going_on_from(kept, context)
        told = super().evaluate_tick(found)
        tick = context.log_key[-1] if context.log_key else ""
        if told.run_requests and tick.isdecimal():  # no other tick can be resumed
            self._keep(context.instance, {**kept, tick: told.cursor or ""})
        return told

    @property
    def _key(self) -> str:
        return f"betting/{self.name}/cursors"

    def _keep(self, instance: dg.DagsterInstance, cursors: dict[str, str]) -> None:
        instance.daemon_cursor_storage.set_cursor_values({self._key: json.dumps(cursors)})

    def _carried_out(self, instance: dg.DagsterInstance) -> dict[str, str]:
        """Tick and cursor of the newest one that reserved its runs: one that died before that asked for nothing."""
        stored = instance.daemon_cursor_storage.get_cursor_values({self._key}).get(self._key, "{}")
        for tick, cursor in sorted(json.loads(stored).items(), key=lambda one: -int(one[0])):
            if _reserved(instance, int(tick)):
                return {tick: cursor}
        return {}

    def _going_on_from(self, kept: dict[str, str], context: dg.SensorEvaluationContext) -> dg.SensorEvaluationContext:
        (tick, cursor), *_ = kept.items()
        context.log.info(f"Dagster has no cursor: going on from that of tick {tick}")
        return dg.build_sensor_context(
            context.instance, cursor, repository_def=context.repository_def, sensor_name=self.name
        )


def _reserved(instance: dg.DagsterInstance, tick: int) -> bool:
    """Whether a tick told which runs it wants; one that was purged did not, as far as anyone can say."""
    assert instance.schedule_storage is not None
    try:
        return bool(instance.schedule_storage.get_tick(tick).tick_data.reserved_run_ids)
    except dg.DagsterInvariantViolationError:
        return False
