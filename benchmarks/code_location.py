"""What a fresh process pays to load the code location: CPU seconds, memory, and heavy packages.

python benchmarks/code_location.py [--quick] [--json FILE]
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from typing import Any

from _common import arguments, print_machine, write_json

HEAVY = (
    "mlflow",
    "bentoml",
    "feast",
    "great_expectations",
    "evidently",
    "lightgbm",
    "sklearn",
    "matplotlib",
    "penaltyblog",
    "scipy",
)
IMPORTS = {"python alone": "pass", "dagster": "import dagster", "code location": "import betting_assets.definitions"}
MB = 1024 * 1024
PROBE = """
import json, sys, time
{statement}
seconds, heavy = time.process_time(), [name for name in {heavy} if name in sys.modules]
import psutil
print(json.dumps([seconds, psutil.Process().memory_info().rss, heavy]))
"""


def measure(name: str, repeats: int) -> dict[str, Any]:
    """Median of several fresh processes."""
    command = [sys.executable, "-W", "ignore", "-c", PROBE.format(statement=IMPORTS[name], heavy=HEAVY)]
    runs = [json.loads(subprocess.run(command, capture_output=True, check=True).stdout) for _ in range(repeats)]
    return {
        "import": name,
        "cpu_s": statistics.median(run[0] for run in runs),
        "cpu_s_worst": max(run[0] for run in runs),
        "memory_mb": round(statistics.median(run[1] for run in runs) / MB),
        "heavy": runs[0][2],
    }


def main() -> None:
    given = arguments(__doc__, "one process for each instead of five").parse_args()
    where, rows = print_machine(), []
    print(f"{'import':<15} {'CPU s':>6} {'worst':>6} {'MB':>5}  heavy packages")
    for name in IMPORTS:
        rows.append(row := measure(name, 1 if given.quick else 5))
        print(
            f"{name:<15} {row['cpu_s']:>6.2f} {row['cpu_s_worst']:>6.2f} {row['memory_mb']:>5}  "
            f"{', '.join(row['heavy']) or 'none'}"
        )
    write_json(given.json, {"machine": where, "rows": rows})


if __name__ == "__main__":
    main()
