"""Replay a cassette with vcrpy alone, as its users do: `python play_with_vcr.py CASSETTE...` prints what a client gets.

Runs in any environment that has vcrpy and requests, stubserver not among them. One JSON line for each interaction: its
status, the sum of its body, and its content type. Nothing may reach a network: vcrpy refuses what is not recorded.
"""

from __future__ import annotations

import hashlib
import json
import sys

import requests
import vcr
from vcr.persisters.filesystem import FilesystemPersister
from vcr.serializers import yamlserializer


def lines(path: str) -> list[str]:
    """Send every recorded request again, in order, under vcrpy."""
    asked, _ = FilesystemPersister.load_cassette(path, yamlserializer)
    found = []
    with vcr.use_cassette(path, record_mode="none") as cassette, requests.Session() as session:
        for request in asked:
            got = session.request(request.method, request.uri, data=request.body, allow_redirects=False)
            digest = hashlib.sha256(got.content).hexdigest()
            found.append(json.dumps([got.status_code, digest, got.headers.get("content-type")]))
        assert cassette.all_played
    return found


if __name__ == "__main__":
    for name in sys.argv[1:]:
        print("\n".join(lines(name)))
