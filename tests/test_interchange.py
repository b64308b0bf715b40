from __future__ import annotations

from pathlib import Path

from stubserver.interchange import Carried, Lost
from stubserver.messages import Interaction, Request, Response


def test_what_is_found_says_where() -> None:
    carried = Carried("a.har, entry 1", Interaction(Request("GET", "/"), Response(200)))

    assert carried.notes == ()
    assert Lost("a.har, entry 2", "why") == ("a.har, entry 2", "why")


def test_the_samples_say_how_they_were_made() -> None:
    folder = Path(__file__).parent / "data" / "interchange"
    note = (folder / "README.md").read_text()

    assert [path.name for path in sorted(folder.iterdir()) if path.name not in note] == ["README.md"]
