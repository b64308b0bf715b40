from __future__ import annotations

from pathlib import Path

import pytest

from stubserver.cassettes.format import FormatError
from stubserver.interchange.stubs import file_body, from_base64, quoted, unpacked
from stubserver.messages import Response


def test_base64_is_checked() -> None:
    assert from_base64("/w==") == b"\xff"
    with pytest.raises(FormatError, match="what should be base64 is not"):
        from_base64("*")


def test_a_text_in_a_url_may_be_any() -> None:
    assert quoted("a b/ü\ud800") == "a%20b/%C3%BC%ED%A0%80"
    assert quoted("a/b&c", "") == "a%2Fb%26c"


def test_a_file_is_of_its_folder(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a").write_bytes(b"\xff")
    (tmp_path / "b").write_text("secret")

    assert file_body("a", tmp_path / "in") == b"\xff"
    with pytest.raises(FormatError, match=r"the file of its body, \.\./b, is not in in"):
        file_body("../b", tmp_path / "in")


def test_a_content_encoding_that_is_none_goes() -> None:
    response = Response(200, (("Content-Encoding", "gzip"), ("a", "b")), b"plain")

    assert unpacked(response).headers == (("a", "b"),)
