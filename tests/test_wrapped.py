"""What stands in a text in another form is found and changed there; everything else stays as it was, byte for byte."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubserver.wrapped import clean_wrapped, unwrapped

SECRET = "hunter2-hunter2!"
TEXT = f"the word, ü, is {SECRET} today"
CLEAN = TEXT.replace(SECRET, "REDACTED")
Form = Callable[[str], str]


def clean(text: str) -> str:
    return text.replace(SECRET, "REDACTED")


def in_base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def in_mail(text: str) -> str:
    return base64.encodebytes((text * 5).encode()).decode()


def in_escapes(text: str) -> str:
    return "".join(f"\\u{ord(c):04x}" for c in text)


FORMS: dict[str, Form] = {
    "base64": in_base64,
    "base64 without its end": lambda text: in_base64(text).rstrip("="),
    "base64 for URLs": lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
    "percent": quote,
    "all percent": lambda text: "".join(f"%{b:02x}" for b in text.encode()),
    "form": quote_plus,
    "hex": lambda text: text.encode().hex(),
    "HEX": lambda text: text.encode().hex().upper(),
    "escapes": in_escapes,
}


@pytest.mark.parametrize("around", ["%s", '{"a": "%s"}', "a=%s&b=c", "x %s y", "data:text/plain;base64,%s", "(%s)"])
@pytest.mark.parametrize("form", FORMS)
def test_each_form_is_looked_into_wherever_it_stands(form: str, around: str) -> None:
    before, _, after = around.partition("%s")
    written = before + FORMS[form](TEXT) + after
    cleaned = clean_wrapped(written, clean)
    inner = cleaned.removeprefix(before).removesuffix(after)

    assert SECRET in "".join(unwrapped(written))
    assert cleaned == before + inner + after
    assert CLEAN in ([json.loads(f'"{inner}"')] if form == "escapes" else unwrapped(inner))


@pytest.mark.parametrize("form", ["base64", "base64 for URLs", "hex", "HEX", "form"])
def test_what_is_written_is_in_the_same_form(form: str) -> None:
    assert clean_wrapped(FORMS[form](TEXT), clean) == FORMS[form](CLEAN)


@pytest.mark.parametrize("outer", FORMS)
@pytest.mark.parametrize("inner", FORMS)
def test_one_form_in_another_is_looked_into(inner: str, outer: str) -> None:
    written = FORMS[outer](FORMS[inner](TEXT))

    assert TEXT in "".join(unwrapped(written))
    assert TEXT not in "".join(unwrapped(clean_wrapped(written, clean)))


@pytest.mark.parametrize("fold", ["\n", "\r\n", "\\n", "\\r\\n"])
def test_folded_lines_of_base64_are_one_text(fold: str) -> None:
    written = in_mail(TEXT).strip().replace("\n", fold)

    assert base64.b64decode(clean_wrapped(written, clean)).decode() == CLEAN * 5


@pytest.mark.parametrize("path", ["/v1/files/%s", "a/%s/b", "%s/content"])
def test_base64_in_a_path_is_looked_into(path: str) -> None:
    encoded = base64.urlsafe_b64encode(TEXT.encode()).decode().rstrip("=")
    expected = base64.urlsafe_b64encode(CLEAN.encode()).decode().rstrip("=")

    assert clean_wrapped(path % encoded, clean) == path % expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "plain words, and internationalizations of them",
        "100% sure, 5%20 and %zz and %",
        '{"a": "\\u00e9\\/\\n", "b": "\\ud83d\\ude00 \\ud83d"}',
        "0123456789abcdef0123456789abcdef",
        "\\u12",
        "\udc80 \\u00e9\udcff%41",
        in_base64("nothing of interest in here"),
        "id_" + "0a" * 40 + "_",
    ],
)
def test_what_holds_nothing_stays_as_it_is(text: str) -> None:
    assert clean_wrapped(text, clean) == text


def test_a_picture_stays_as_it_is_whatever_it_holds_by_chance() -> None:
    picture = random.Random(5).randbytes(60_000) + SECRET.encode() + b"\xff\x00"
    written = f'{{"url": "data:image/png;base64,{base64.b64encode(picture).decode()}"}}'

    assert clean_wrapped(written, lambda _: "changed") == written


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60), st.sampled_from(sorted(FORMS)))
def test_nothing_is_changed_where_nothing_is_to_be(text: str, form: str) -> None:
    for written in (text, FORMS[form](text), json.dumps({"a": FORMS[form](text)})):
        assert clean_wrapped(written, lambda plain: plain) == written


PIECES = ["a", "A/", "%", "%4", "%41", "\\u", "\\u0041", "\\/", "0a", "AAAA", "A" * 21 + " ", "QUFB", "=", "\\n", "A\n"]


@pytest.mark.parametrize("piece", PIECES)
def test_two_megabytes_of_anything_come_to_an_end(piece: str) -> None:
    text = "%\\u" + piece * (2_000_000 // len(piece))

    assert clean_wrapped(text, clean) == text
