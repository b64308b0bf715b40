"""What ``show`` and ``check`` say of the cassettes."""

from __future__ import annotations

from pathlib import Path

from tapes import CHAT, ask, chunks, events, recorded, tape

from stubserver.cassettes.library import Library
from stubserver.listing import problems, rows

STREAM = events(*chunks({"content": "Hi"}))


def test_each_interaction_is_a_row(tmp_path: Path) -> None:
    tape(
        tmp_path / "tapes" / "sub" / "chat.yaml",
        recorded(ask("hi"), b"12345"),
        recorded(ask("hi", stream=True), STREAM),
        recorded(ask("hi"), {"error": {}}, status=429),
        recorded(None, {"data": []}, method="GET", path="/v1/models?key=abcdefghijklmnop"),
    )
    shown = rows(Library([tmp_path / "tapes"]))
    assert shown[0] == {
        "file": "tapes/sub/chat.yaml",
        "name": "sub/chat",
        "number": 1,
        "method": "POST",
        "path": CHAT,
        "host": "api.openai.com",
        "status": 200,
        "model": "gpt-4o-mini",
        "stream": False,
        "size": 5,
        "repeats": 2,
    }
    assert [row["number"] for row in shown] == [1, 2, 3, 4]
    assert [row["stream"] for row in shown] == [False, True, False, False]
    assert [row["repeats"] for row in shown] == [2, 1, 2, 1]
    assert [row["status"] for row in shown] == [200, 200, 429, 200]
    assert (shown[3]["model"], shown[3]["path"]) == (None, "/v1/models?key=REDACTED")


def test_a_model_that_is_no_text_is_not_shown(tmp_path: Path) -> None:
    tape(tmp_path / "a.yaml", recorded({"model": ["x"]}), recorded([1]), recorded(b"raw"))
    assert [row["model"] for row in rows(Library([tmp_path]))] == [None, None, None]


def test_what_can_no_longer_be_read_is_no_row_but_a_problem(tmp_path: Path) -> None:
    tape(tmp_path / "a.yaml", recorded(ask()))
    library = Library([tmp_path])
    library.files[0].text = None
    library.files[0].path.unlink()
    assert rows(library) == []
    (problem,) = problems(library)
    assert "a.yaml" in problem


def test_sound_cassettes_have_no_problems(tmp_path: Path) -> None:
    tape(tmp_path / "a.yaml", recorded(ask()), recorded(ask(), STREAM))
    assert problems(Library([tmp_path])) == []


def test_every_problem_is_named_with_its_file_and_item(tmp_path: Path) -> None:
    folder = tmp_path / "tapes"
    cookie = {"Set-Cookie": ["session=0123456789abcdef"]}
    tape(folder / "secret.yaml", recorded(ask()), recorded(ask("b"), headers=cookie))
    tape(folder / "damaged.yaml", recorded(ask()), {"request": {"method": "GET"}, "response": {}})
    (folder / "notes.yaml").write_text("just: notes\n")
    found = "\n".join(problems(Library([folder])))
    assert "tapes/secret.yaml, item 2: looks like a secret: response header Set-Cookie" in found
    assert "tapes/damaged.yaml, item 2" in found
    assert "tapes/notes.yaml: not a cassette, skipped" in found
    assert "secret.yaml, item 1" not in found
    assert "0123456789abcdef" not in found
