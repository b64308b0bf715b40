"""``python -m stubserver``: the same as the command ``stubserver``."""

import sys

from stubserver import early

early.listen(sys.argv[1:])

from stubserver.cli import main  # noqa: E402  # only now: this takes longer than a client may wait

main(prog_name="stubserver")
