"""The `betting` command."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from betting_assets.settings import settings

app = typer.Typer(
    help="""An open data platform for sports betting: from raw odds to a served, evaluated model.

    First time here? `betting demo` runs everything on a small simulated world in about two minutes and explains what it
    did. Then `betting up` keeps the platform running, and `betting ingest DIR` reads your football-data.co.uk files.
    """,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
out = Console() if sys.stdout.isatty() else Console(width=130)

Data = Annotated[
    Path | None,
    typer.Option("--data", help="Folder of football-data.co.uk files (1718/E0.csv, …); else the simulator."),
]
Leagues = Annotated[str, typer.Option(help="Comma-separated league codes, e.g. E0,SP1; empty: all.")]


@app.command()
def demo(
    data: Data = None,
    leagues: Leagues = "",
    reports: Annotated[Path, typer.Option(help="Folder for summary.json and report.html.")] = Path("reports"),
) -> None:
    """Run the main job once: raw odds to a served model, then a summary. Leaves nothing running.

    Uses a state folder of its own, fresh each time; the last match day is held back and served as upcoming.
    """
    import json

    from betting_assets import summary
    from betting_assets.demo import Demo, demo_settings, progress_bar

    with progress_bar() as progress:
        story = Demo(demo_settings(settings(), data, leagues), progress).run()
    told = summary.summarize(story)
    reports.mkdir(parents=True, exist_ok=True)
    (reports / "summary.json").write_text(json.dumps(told, indent=1, default=str))
    summary.write_html(told, story, reports / "report.html")
    out.print(summary.console(told))
    out.print(f"{reports / 'summary.json'} and {reports / 'report.html'} are written; nothing is left running.")


@app.command()
def up() -> None:
    """Keep the platform up in the foreground: Dagster UI, MLflow UI, prediction service. Ctrl-C stops all of it."""
    from betting_assets.up import run

    run(settings(), out)


@app.command()
def ingest(
    directory: Annotated[Path, typer.Argument(help="Folder of football-data.co.uk files.")],
    leagues: Leagues = "",
) -> None:
    """Read files into PostgreSQL: new rows are added, corrected cells updated, the rest is left alone."""
    from betting_assets.operate import ingest_folder

    counts = ingest_folder(settings().model_copy(update={"data": directory, "leagues": leagues}))
    table = Table("", "rows", "inserted", "updated")
    for name, values in counts.items():
        table.add_row(name, *(f"{values[key]:,}" for key in ("rows", "inserted", "updated")))
    out.print(table)


@app.command()
def evaluate(
    data: Data = None,
    leagues: Leagues = "",
    test_seasons: Annotated[
        str, typer.Option(help="Comma-separated season codes, e.g. 2021,2122; empty: newest.")
    ] = "",
    market: Annotated[str, typer.Option(help="1x2 or over_under.")] = "1x2",
    json_file: Annotated[Path | None, typer.Option("--json", help="Write all numbers to this file.")] = None,
) -> None:
    """Walk-forward evaluation of every model against the market on the same matches. Needs no service."""
    from betting_assets import evaluate as evaluation

    chosen = settings().model_copy(update={"data": data or settings().data, "leagues": leagues or settings().leagues})
    seasons = [season.strip() for season in test_seasons.split(",") if season.strip()]
    with Progress(console=out, transient=True) as progress:
        task = progress.add_task("walk-forward", total=evaluation.steps(seasons, chosen))
        report = evaluation.evaluate(chosen, seasons, market, lambda _: progress.advance(task))
    if json_file is not None:
        evaluation.write_json(report, json_file)
    out.print(_evaluation_table(report))


@app.command()
def predict(
    match_ids: Annotated[list[str] | None, typer.Argument(help="Match ids; none: every upcoming match.")] = None,
    market: Annotated[str, typer.Option(help="1x2 or over_under.")] = "1x2",
) -> None:
    """Ask the running service for probabilities."""
    from betting_assets.operate import ask

    table = Table("match", "variant", "probabilities", "fair odds", "feature time")
    for one in ask(settings(), market, match_ids or []):
        table.add_row(*one)
    out.print(table)


@app.command()
def status() -> None:
    """What is stored, what is deployed, and what answers."""
    from betting_assets.operate import state

    table = Table(show_header=False)
    for name, value in state(settings()).items():
        table.add_row(name, value)
    out.print(table)


@app.command()
def rollback() -> None:
    """Return to the deployment before the current one, models and all."""
    from betting_assets.operate import roll_back

    out.print(roll_back(settings()))


def _evaluation_table(report: dict[str, dict[str, Any]]) -> Table:
    table = Table("model", "n", "log-loss", "RPS", "Brier", "ECE", "calibrated band", "log-loss vs market [95 % CI]")
    for name, values in report.items():
        if values["n"] == 0:
            table.add_row(name, "0")
            continue
        difference = values["diff_vs_market_pre"].get("log_loss")
        interval = f"{difference['mean']:+.5f} [{difference['lo']:+.5f}, {difference['hi']:+.5f}]" if difference else ""
        numbers = [f"{values[key]:.5f}" for key in ("log_loss", "rps", "brier", "ece")]
        lo, hi = values["ece_band"]
        table.add_row(name, f"{values['n']:,}", *numbers, f"[{lo:.4f}, {hi:.4f}]", interval)
    return table


def _known_errors() -> tuple[type[Exception], ...]:
    """Errors whose message is meant for the user. Everything else is a bug, and shows its traceback."""
    import httpx
    from pydantic import ValidationError

    from bentos.match_odds.client import MatchOddsError
    from betting_assets.demo import DemoError
    from betting_assets.embedded.platform_lock import PlatformLockError
    from betting_assets.embedded.ports import PortsError
    from betting_assets.embedded.postgres import PostgresError
    from betting_assets.embedded.supervisor import ServiceFailedError
    from betting_assets.operate import OperationError
    from betting_assets.warehouse.database import DatabaseError
    from betting_assets.warehouse.deployments import DeploymentError

    return (
        ValueError,
        ValidationError,
        httpx.TransportError,
        DemoError,
        PostgresError,
        PlatformLockError,
        PortsError,
        ServiceFailedError,
        OperationError,
        DatabaseError,
        DeploymentError,
        MatchOddsError,
    )


def _fail(message: str) -> NoReturn:
    print(f"betting: {' '.join(message.split())}", file=sys.stderr)  # noqa: T201
    sys.exit(2)


def main() -> None:
    """Entry point: a user's mistake is one line, never a traceback."""
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if not isinstance(error, _known_errors()):
            raise
        _fail(str(error))
