"""Write the stubs of match_odds.proto beside it: `python -m bentos.match_odds.proto.generate`, after every change."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
PROTO = HERE / "match_odds.proto"
STUBS = ("match_odds_pb2.py", "match_odds_pb2.pyi", "match_odds_pb2_grpc.py")


def generate(root: Path = ROOT) -> list[Path]:
    """Write the stubs below `root`, in the folders of this package; returns them.

    Raises:
        RuntimeError: protoc refuses the file; its standard error says where.
    """
    from grpc_tools import protoc

    outputs = [f"--{kind}_out={root}" for kind in ("python", "pyi", "grpc_python")]
    includes = [f"-I{ROOT}", f"-I{files('grpc_tools') / '_proto'}"]
    if protoc.main(["protoc", *includes, *outputs, str(PROTO)]) != 0:
        raise RuntimeError(f"protoc refuses {PROTO}")
    return [root / HERE.relative_to(ROOT) / name for name in STUBS]


if __name__ == "__main__":
    generate()
