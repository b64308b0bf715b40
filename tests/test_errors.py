"""The exceptions: one tree, and messages that say where and what."""

from __future__ import annotations

import pickle

import pytest

from stubserver import errors
from stubserver.errors import CassetteError, NotACassetteError, ProtocolError, StubserverError, UsageError


@pytest.mark.parametrize("name", errors.__all__)
def test_every_exception_is_a_stubserver_error(name: str) -> None:
    assert issubclass(getattr(errors, name), StubserverError)


def test_a_wrong_option_is_a_value_error_too() -> None:
    assert issubclass(UsageError, ValueError)


def test_a_cassette_error_names_file_item_and_cause() -> None:
    error = CassetteError("chat.yaml", "it has no request", 3)
    assert str(error) == "chat.yaml, item 3: it has no request"
    assert (error.path, error.item, error.cause) == ("chat.yaml", 3, "it has no request")


def test_a_cassette_error_of_the_whole_file_names_no_item() -> None:
    error = NotACassetteError("notes.yaml", "no recorded interactions in it")
    assert str(error) == "notes.yaml: no recorded interactions in it"
    assert error.item == 0
    assert isinstance(error, CassetteError)


def test_a_protocol_error_carries_the_status_and_the_code_to_answer_with() -> None:
    error = ProtocolError(413, "Request body too large", "request_too_large")
    assert (str(error), error.status, error.code) == ("Request body too large", 413, "request_too_large")
    assert ProtocolError(400, "no").code is None


def test_a_cassette_error_travels_between_processes() -> None:
    error = pickle.loads(pickle.dumps(NotACassetteError("chat.yaml", "it is empty", 3)))
    assert (type(error), str(error)) == (NotACassetteError, "chat.yaml, item 3: it is empty")
