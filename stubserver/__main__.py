"""``python -m stubserver``, and the command ``stubserver``."""

import sys

from stubserver import early, process

__all__ = ["run"]


def run() -> None:
    """Do what the command line says."""
    process.begin()
    early.listen(sys.argv[1:])
    from stubserver.cli import main  # noqa: PLC0415  # only now: this takes longer than a client may wait

    main(prog_name="stubserver")


if __name__ == "__main__":
    run()
