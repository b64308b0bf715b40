"""``python -m stubserver``: the same as the command ``stubserver``."""

from stubserver.cli import main

main(prog_name="stubserver")
