"""The `betting` command."""

from __future__ import annotations

import datetime as dt
import errno
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from betting_assets.api_key_command import app as api_keys
from betting_assets.dead_letter_command import app as dead_letters
from betting_assets.replay_command import replay
from betting_assets.settings import Settings
from betting_assets.stream_command import app as stream
from betting_assets.terminal import Stages, answers, libraries_log_to, plain_table
from betting_assets.usage import checked_settings, require_writable

app = typer.Typer(
    help="""An open data platform for sports betting: from raw odds to a served, evaluated model.

    First time here? `betting demo` runs everything on a small simulated world in about four minutes and tells what it
    did. Then `betting up` keeps the platform running, and `betting ingest DIR` reads your football-data.co.uk files.

    Every setting is a variable BETTING_…, in the environment or in a file .env: BETTING_HOME is the folder that holds
    all state, BETTING_DATABASE_URL names a PostgreSQL of your own, BETTING_SERVING_PORT and the like choose ports.
    """,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
UsageProblem: Any = typer.BadParameter.__base__
"""Typer brings its own click, and gives out only this child of the error that all wrong arguments raise."""

HOME = "choose another state folder with BETTING_HOME"
KILLED = 128

Data = Annotated[
    Path | None,
    typer.Option("--data", help="Folder of football-data.co.uk files (1718/E0.csv, …); else the simulator."),
]
Leagues = Annotated[str, typer.Option(help="Comma-separated league codes, e.g. E0,SP1; empty: all.")]
Market = Annotated[str, typer.Option(help="1x2 or over_under.")]


@app.command()
def demo(
    data: Data = None,
    leagues: Leagues = "",
    reports: Annotated[Path, typer.Option(help="Folder for summary.json and report.html.")] = Path("reports"),
) -> None:
    """Run the main job once: raw odds to a served model, then a summary. Leaves nothing running.

    Uses a state folder of its own, fresh each time; the last match day is held back and served as upcoming.

    Examples: betting demo · betting demo --leagues SIM1 · betting demo --data ~/football-data --leagues E0,SP1
    """
    from betting_assets import report, summary
    from betting_assets.demo import Demo, check_input, demo_lock, demo_log, demo_settings
    from betting_assets.json_files import write_json

    chosen = demo_settings(checked_settings(), data, leagues)
    check_input(chosen)
    require_writable(reports, "choose another folder with --reports")
    with demo_lock(chosen), libraries_log_to(demo_log(chosen)) as terminal, Stages(terminal) as stages:
        story = Demo(chosen, stages).run()
    told = summary.summarize(story)
    write_json(told, reports / "summary.json")
    report.write_html(told, story, reports / "report.html")
    out = answers()
    out.print(summary.console(told))
    out.print(f"{reports / 'summary.json'} and {reports / 'report.html'} are written; nothing is left running.")


@app.command()
def up() -> None:
    """Keep the platform up in the foreground: Dagster UI, MLflow UI, prediction service. Ctrl-C stops all of it.

    A second start resumes from what is stored. Ports: BETTING_DAGSTER_PORT, BETTING_MLFLOW_PORT, BETTING_SERVING_PORT.
    """
    from betting_assets.up import run

    chosen = checked_settings()
    require_writable(chosen.home, HOME)
    run(chosen, answers())


@app.command()
def ingest(
    directory: Annotated[Path, typer.Argument(help="Folder of football-data.co.uk files.")],
    leagues: Leagues = "",
) -> None:
    """Read files into PostgreSQL: new rows are added, corrected cells updated, the rest is left alone.

    Works beside a running `betting up`, and without it. Example: betting ingest ~/football-data --leagues E0,SP1
    """
    from betting_assets.operate import ingest_folder

    with _at_work({"data": directory, "leagues": leagues}) as (chosen, stages):
        counts = ingest_folder(chosen, stages)
    table = plain_table("table", "rows", "inserted", "updated")
    for name, values in counts.items():
        table.add_row(name, *(f"{values[key]:,}" for key in ("rows", "inserted", "updated")))
    answers().print(table)


@app.command()
def evaluate(
    data: Data = None,
    leagues: Leagues = "",
    test_seasons: Annotated[
        str, typer.Option(help="Comma-separated season codes, e.g. 2021,2122; empty: newest.")
    ] = "",
    market: Market = "1x2",
    json_file: Annotated[Path | None, typer.Option("--json", help="Write all numbers to this file.")] = None,
) -> None:
    """Walk-forward evaluation of every model against the market on the same matches. Needs no service.

    Each test season is forecast by models that saw earlier matches only. The JSON file holds, for each model and
    baseline: n, n_dropped, log_loss, rps, brier, ece, ece_band, and the paired differences with the market before the
    close and at the close.

    Example: betting evaluate --data ~/football-data --leagues E0,SP1 --test-seasons 2021,2122 --json scores.json
    """
    from betting_assets import evaluate as evaluation
    from betting_assets.json_files import write_json

    base = checked_settings()
    seasons = [season.strip() for season in test_seasons.split(",") if season.strip()]
    if json_file is not None:
        require_writable(json_file.absolute().parent, "choose another file with --json")
        if json_file.is_dir():
            raise typer.BadParameter(f"{json_file} is a folder: name a file", param_hint="--json")
    with _at_work({"data": data or base.data, "leagues": leagues or base.leagues}) as (chosen, stages):
        report = evaluation.evaluate(chosen, seasons, market, stages)
    if json_file is not None:
        write_json(report, json_file)
    answers().print(_evaluation_table(report))


@app.command()
def predict(
    match_ids: Annotated[list[str] | None, typer.Argument(help="Match ids; none: every upcoming match.")] = None,
    market: Market = "1x2",
) -> None:
    """Ask the running service for probabilities. Needs `betting up`.

    Examples: betting predict · betting predict --market over_under · betting predict e0_2022-05-22_arsenal_everton
    """
    from betting_assets.operate import ask

    chosen = checked_settings()
    with Console(stderr=True).status("asking the service"):
        header, rows = ask(chosen, market, match_ids or [])
    table = plain_table(*header)
    for one in rows:
        table.add_row(*one)
    answers().print(table)


features = typer.Typer(help="Look into the feature store.", no_args_is_help=True)
app.add_typer(features, name="features")
app.add_typer(api_keys, name="api-key")
app.add_typer(stream, name="stream")
app.add_typer(dead_letters, name="dlq")
app.command()(replay)


@features.command()
def show(
    match_id: Annotated[str, typer.Argument(help="Id of a match, e.g. e0_2022-05-22_arsenal_everton.")],
    at: Annotated[
        str, typer.Option(help="Show what was known at this time, with its zone: 2022-05-20T15:00Z; empty: now.")
    ] = "",
) -> None:
    """Every feature of a match: what the service reads now beside what training would see. Needs a running database.

    Examples: betting features show e0_2022-05-22_arsenal_everton --at 2022-05-20T15:00Z
    """
    from betting_assets.feature_sheet import feature_sheet

    chosen = checked_settings()
    with Console(stderr=True).status("reading features"):
        sheet = feature_sheet(chosen, match_id, _moment(at) if at else None)
    table = plain_table(*sheet.header, title=sheet.title)
    for one in sheet.rows:
        table.add_row(*one)
    answers().print(table)
    for line in sheet.views:
        answers().print(line)


def _moment(text: str) -> dt.datetime:
    """An ISO 8601 time with its zone."""
    try:
        time = dt.datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is no time: write 2022-05-20T15:00Z", param_hint="--at") from error
    if time.tzinfo is None:
        raise typer.BadParameter(f"{text} has no time zone: write {text}Z for UTC", param_hint="--at")
    return time.astimezone(dt.UTC)


@app.command()
def status() -> None:
    """What is stored, what is deployed, and what answers."""
    from betting_assets.operate import state

    table = Table(show_header=False)
    for name, value in state(checked_settings()).items():
        table.add_row(name, value)
    answers().print(table)


@app.command()
def rollback() -> None:
    """Return to the deployment before the current one, models and all. A running service follows within seconds."""
    from betting_assets.operate import roll_back

    with Console(stderr=True).status("rolling back"):
        told = roll_back(checked_settings())
    answers().print(told)


@contextmanager
def _at_work(changes: dict[str, Any]) -> Iterator[tuple[Settings, Stages]]:
    """The settings with `changes`, and stages to show; what libraries say meanwhile goes to the state folder's log."""
    chosen = checked_settings().model_copy(update=changes)
    require_writable(chosen.home, HOME)
    log = chosen.home / "logs" / "command.log"
    with libraries_log_to(log) as terminal, Stages(terminal) as stages:
        yield chosen, stages


def _evaluation_table(report: dict[str, dict[str, Any]]) -> Table:
    table = plain_table("model", "n", "log-loss", "RPS", "ECE", "band up to", "vs market", "95 % CI")
    table.caption = (
        "vs market: mean log-loss minus that of the market before the close, same matches; below zero is better. "
        "ECE: calibration error; a perfect forecaster stays in its band."
    )
    for name, values in report.items():
        if values["n"] == 0:
            table.add_row(name, "0")
            continue
        difference = values["diff_vs_market_pre"].get("log_loss")
        versus = (
            (f"{difference['mean']:+.4f}", f"{difference['lo']:+.4f} {difference['hi']:+.4f}") if difference else ()
        )
        numbers = [f"{values[key]:.4f}" for key in ("log_loss", "rps", "ece")]
        table.add_row(name, f"{values['n']:,}", *numbers, f"{values['ece_band'][1]:.4f}", *versus)
    return table


def _is_meant_for_the_user(error: Exception) -> bool:
    """Whether the message is meant for the user. Everything else is a bug, and shows its traceback."""
    from bentos.match_odds.client import MatchOddsError
    from betting_assets.demo import DemoError
    from betting_assets.embedded.platform_lock import PlatformLockError
    from betting_assets.embedded.ports import PortsError
    from betting_assets.embedded.postgres import PostgresError
    from betting_assets.embedded.supervisor import ServiceFailedError
    from betting_assets.modelling.dataset import LeakError
    from betting_assets.modelling.evaluation import EvaluationError
    from betting_assets.modelling.markets import UnknownMarketError
    from betting_assets.operate import OperationError
    from betting_assets.sources.errors import SourceError
    from betting_assets.streaming.feeds.errors import FeedError
    from betting_assets.streaming.kafka import BrokerError
    from betting_assets.usage import UsageError
    from betting_assets.warehouse.database import DatabaseError
    from betting_assets.warehouse.deployments import DeploymentError

    told = (
        UsageError,
        SourceError,
        UnknownMarketError,
        EvaluationError,
        LeakError,
        DatabaseError,
        DeploymentError,
        PostgresError,
        PlatformLockError,
        PortsError,
        ServiceFailedError,
        MatchOddsError,
        OperationError,
        BrokerError,
        FeedError,
        DemoError,
    )
    disk_is_full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    return isinstance(error, told) or disk_is_full


def _fail(message: str) -> NoReturn:
    print(f"betting: {' '.join(message.split())}", file=sys.stderr)  # noqa: T201
    sys.exit(2)


def _exit(number: int, frame: FrameType | None) -> None:
    """A polite kill unwinds like Ctrl-C, so that nothing is left running."""
    sys.exit(KILLED + number)


def main() -> None:
    """Entry point: a user's mistake is one line, never a traceback."""
    signal.signal(signal.SIGTERM, _exit)
    try:
        sys.exit(app(sys.argv[1:] or ["--help"], standalone_mode=False))
    except KeyboardInterrupt:
        print("betting: stopped", file=sys.stderr)  # noqa: T201
        sys.exit(KILLED + signal.SIGINT)
    except UsageProblem as error:
        _fail(f"{error.format_message()} See `betting --help`.")
    except Exception as error:
        if not _is_meant_for_the_user(error):
            raise
        _fail(str(error))
