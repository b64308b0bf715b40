"""Make what is published of a result: a table and plots.

    python tools/bench/publish.py                        of the newest result
    python tools/bench/publish.py RESULT.json...         of these, which hold different parts
    python tools/bench/publish.py --into tools/bench/results/published         where it may be committed

The plots need matplotlib: ``pip install 'stubserver[bench]'``; without it the table is written alone.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import markdown
from servers import HERE

RESULTS = HERE / "results"


def main() -> int:
    """Publish one result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("result", type=Path, nargs="*", help="JSON files that run.py wrote")
    parser.add_argument("--into", type=Path, default=RESULTS / "page", help="the folder")
    arguments = parser.parse_args()
    results = arguments.result or newest(RESULTS)
    if not results:
        print("there is no result: run make bench-full first", file=sys.stderr)
        return 1
    for path in publish(results, arguments.into):
        print(path)
    return 0


def newest(folder: Path) -> list[Path]:
    """Return the last result in *folder*: their names are the times when they were made."""
    return sorted(folder.glob("*.json"))[-1:]


def publish(results: Sequence[Path], folder: Path) -> list[Path]:
    """Write the table, the plots and the figures into *folder*, named by the day; return what was written.

    Of a part that is in several results, the last one counts; the machine is that of the first.
    """
    read: list[dict[str, Any]] = [json.loads(path.read_text(encoding="utf-8")) for path in results]
    found = {**read[0], "parts": {name: part for each in read for name, part in each["parts"].items()}}
    folder.mkdir(parents=True, exist_ok=True)
    stem = folder / str(found["machine"]["time"])[:10]
    table, kept = stem.with_suffix(".md"), stem.with_suffix(".json")
    kept.write_text(json.dumps(found, separators=(",", ":")) + "\n", encoding="utf-8")
    pictures = _plots(found, stem)
    table.write_text(markdown.document(found, [path for path in pictures if path.suffix == ".png"]), encoding="utf-8")
    return [table, kept, *pictures]


def _plots(found: dict[str, Any], stem: Path) -> list[Path]:
    try:
        import plots  # noqa: PLC0415  # matplotlib may not be there
    except ImportError:
        print("no plots: they need matplotlib: pip install 'stubserver[bench]'", file=sys.stderr)
        return []
    return plots.draw(found, stem)


if __name__ == "__main__":
    sys.exit(main())
