"""What the native part found, for a person and for a program."""

from __future__ import annotations

import copy
import json
import os
from typing import Any, Union

from . import _native


class Report:
    """Numbers, text and a page."""

    def __init__(self, native: Union[_native.ProbeReport, _native.CureReport]) -> None:
        self._native = native
        self._numbers: dict[str, Any] = json.loads(native.json())

    @property
    def findings(self) -> list[dict[str, Any]]:
        """What is wrong, root cause first, each with its `code`, `title`, `evidence`, `why` and `help`."""
        return self._numbers["findings"]

    def to_dict(self) -> dict[str, Any]:
        """Every number."""
        return copy.deepcopy(self._numbers)

    def save_html(self, path: Union[str, os.PathLike[str]]) -> None:
        """Writes one page with the plots, which needs no network."""
        with open(path, "w", encoding="utf-8") as page:
            page.write(self._native.html())

    def __str__(self) -> str:
        return self._native.text(False)
