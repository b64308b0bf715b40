"""vcrpy's own YAML serializer, without the rest of vcrpy.

Importing vcrpy imports every HTTP client that is installed, to patch it: most of a second, in which the first recorded
answer waited and all others had half of the interpreter. The module that writes needs nothing but PyYAML.
"""

from __future__ import annotations

import sys
from functools import cache
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, Final

__all__ = ["serializer"]

_NAME: Final = "vcr.serializers.yamlserializer"


@cache
def serializer() -> Any:  # noqa: ANN401  # a module of vcrpy's, with ``serialize`` and ``deserialize``
    """Return vcrpy's module that writes YAML; the first time, that takes as long as to import PyYAML."""
    return sys.modules.get(_NAME) or _alone() or _with_the_rest()


def _alone() -> Any:  # noqa: ANN401  # as above; None where it is not in a file of that name
    package = find_spec("vcr")
    for folder in (package and package.submodule_search_locations) or ():
        file = Path(folder, "serializers", "yamlserializer.py")
        spec = spec_from_file_location(_NAME, file) if file.is_file() else None
        if spec is not None and spec.loader is not None:
            module = module_from_spec(spec)
            spec.loader.exec_module(module)
            return module
    return None


def _with_the_rest() -> Any:  # noqa: ANN401  # as above
    from vcr.serializers import yamlserializer  # noqa: PLC0415  # see above

    return yamlserializer
