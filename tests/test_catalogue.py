"""Where recordings are found, while files come, go and grow."""

from __future__ import annotations

from pathlib import Path

from cassette_texts import dump, read
from tapes import ask, recorded, request

from stubserver.canonical import Rules, route_key
from stubserver.cassettes.catalogue import Catalogue
from stubserver.cassettes.recordings import Recording, Reel

RULES = Rules()


def reel(folder: Path, name: str, *items: dict[str, object]) -> Reel:
    return read(folder / name, dump({"interactions": list(items)}), RULES).recordings


def asked(*questions: str) -> list[dict[str, object]]:
    return [recorded(ask(question)) for question in questions]


def found(catalogue: Catalogue, question: str) -> list[str]:
    key = RULES.key(request(ask(question)))
    return [label(catalogue.at(entry)) for entry in catalogue.find(key)]


def label(recording: Recording) -> str:
    return recording.label


def test_recordings_are_found_by_key_in_the_order_of_their_files(tmp_path: Path) -> None:
    one, two = reel(tmp_path, "1", *asked("a", "b", "a")), reel(tmp_path, "2", *asked("a", "c"))
    catalogue = Catalogue([two, one])
    assert found(catalogue, "a") == ["2#1", "1#1", "1#3"]
    assert (found(catalogue, "c"), found(catalogue, "x")) == (["2#2"], [])
    assert [r.label for r in catalogue] == ["2#1", "2#2", "1#1", "1#2", "1#3"]
    assert len(catalogue) == 5


def test_what_is_prepared_is_found_when_it_is_published(tmp_path: Path) -> None:
    one, two = reel(tmp_path, "1", *asked("a")), reel(tmp_path, "2", *asked("a", "b"))
    catalogue = Catalogue([one])
    prepared = catalogue.prepare([two])
    assert (found(catalogue, "a"), found(catalogue, "b")) == (["1#1"], [])
    catalogue.publish(prepared)
    assert (found(catalogue, "a"), found(catalogue, "b")) == (["2#1"], ["2#2"])
    catalogue.publish(catalogue.prepare([two, one]))
    assert found(catalogue, "a") == ["2#1", "1#1"]
    catalogue.publish(catalogue.prepare([one, two]))
    assert found(catalogue, "a") == ["1#1", "2#1"]


def test_a_reel_grows(tmp_path: Path) -> None:
    whole = reel(tmp_path, "1", *asked("a", "b", "a"))
    growing, other = Reel(whole.file), Reel(whole.file)
    catalogue = Catalogue([growing])
    for target, recording in ((growing, whole[0]), (growing, whole[1]), (other, whole[2])):
        target.append(recording)
        catalogue.add(target)
    assert found(catalogue, "a") == ["1#1", "1#3"]
    route = whole[0].key[:8]
    assert [label(catalogue.at(entry)) for entry in catalogue.find_route(route)] == ["1#1", "1#2", "1#3"]
    assert catalogue.routes(route_key("POST\n\n/chat/completions")) == {route}
    assert [r.label for r in catalogue.of_size(route, whole[1].size, 9)] == ["1#1", "1#2", "1#3"]


def test_indexes_that_were_built_know_what_comes_later(tmp_path: Path) -> None:
    one, two = (reel(tmp_path, name, recorded({**ask("a"), "stream": True}, "data: 1\n\n")) for name in "12")
    catalogue = Catalogue([one])
    loose = one[0].loose
    assert loose != one[0].key
    assert [r.label for r in catalogue.find_second([loose])] == ["1#1"]
    catalogue.publish(catalogue.prepare([two, one]))
    assert [r.label for r in catalogue.find_second([loose])] == ["2#1", "1#1"]
    assert [r.label for r in catalogue.find_second([one[0].key])] == ["2#1", "1#1"]
    catalogue.publish(catalogue.prepare([two]))
    assert [r.label for r in catalogue.find_second([loose])] == ["2#1"]


def test_sizes_find_their_way_past_what_is_gone(tmp_path: Path) -> None:
    old, new = reel(tmp_path, "1", *asked(*"abc")), reel(tmp_path, "2", *asked("d", "long" * 9))
    catalogue = Catalogue([old])
    route, size = old[0].key[:8], old[0].size
    assert len(catalogue.of_size(route, size, 2)) == 2
    catalogue.publish(catalogue.prepare([new]))
    assert [r.label for r in catalogue.of_size(route, size, 1)] == ["2#1"]
    assert [r.label for r in catalogue.of_size(route, 10**6, 9)] == ["2#2", "2#1"]
    assert [r.label for r in catalogue.of_size(b"elsewhere", size, 1)] == ["2#1"]


def test_it_says_when_most_of_it_leads_nowhere(tmp_path: Path) -> None:
    reels = [reel(tmp_path, str(n), *asked(*map(str, range(700)))) for n in range(3)]
    catalogue = Catalogue(reels[:1])
    stale = []
    for following in reels[1:]:
        catalogue.publish(catalogue.prepare([following]))
        stale.append(catalogue.stale)
    catalogue.publish(catalogue.prepare([]))
    assert [*stale, catalogue.stale] == [False, False, True]
    assert found(catalogue, "5") == []
