"""Where runs write their log: the Python logger `betting.runs`, which the program that starts them may redirect."""

import logging

import dagster as dg

NAME = "betting.runs"


def _logger(_: dg.InitLoggerContext) -> logging.Logger:
    """To the console, unless the program gave the logger handlers of its own."""
    logger = logging.getLogger(NAME)
    logger.setLevel(logging.DEBUG)
    if not logger.hasHandlers():
        handler = logging.StreamHandler()
        handler.setLevel(logging.INFO)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        logger.addHandler(handler)
    return logger


run_logger = dg.LoggerDefinition(_logger, description=f"Python's logger {NAME}.")


def step_of(record: logging.LogRecord) -> tuple[str, str] | None:
    """(event, step) of a log record that tells of a step's end, else None."""
    metadata = getattr(record, "dagster_meta", None) or {}
    event = metadata.get("dagster_event")
    if event is None or event.step_key is None:
        return None
    return str(event.event_type_value), str(event.step_key)
