"""The file of answers: what is read back, and what is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from stubserver.cassettes.answerfile import AnswerFile

NAME, OTHER = b"n" * 32, b"o" * 32


def test_what_was_added_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "answers"
    file = AnswerFile(path, NAME, writable=True)
    first = file.append([(1, b"one"), (2, b"")])
    second = file.append([(3, b"x" * 100_000)])
    reader = AnswerFile(path, NAME, writable=False)
    for opened in (file, reader):
        assert [opened.read(place, n) for n, place in enumerate([*first, *second], 1)] == [b"one", b"", b"x" * 100_000]
        assert opened.read(first[0], 2) is None
        opened.close()


def test_what_is_damaged_or_cut_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "answers"
    file = AnswerFile(path, NAME, writable=True)
    one, two = file.append([(1, b"one"), (2, b"two")])
    path.write_bytes(path.read_bytes().replace(b"one", b"ONE")[:-1])
    assert (file.read(one, 1), file.read(two, 2), file.read(10**15, 1)) == (None, None, None)
    file.close()


def test_the_answers_of_another_index_are_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "answers"
    old = AnswerFile(path, NAME, writable=True)
    places = old.append([(1, b"one")])
    new = AnswerFile(path, OTHER, writable=True)
    assert new.read(places[0], 1) is None
    assert old.read(places[0], 1) == b"one"
    with pytest.raises(OSError, match="not the answers of this index"):
        AnswerFile(path, NAME, writable=False)
    old.close()
    new.close()


def test_a_file_of_somebody_elses_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "answers"
    path.write_text("important")
    with pytest.raises(OSError, match="not the answers"):
        AnswerFile(path, NAME, writable=True)
    assert path.read_text() == "important"
