"""The base of a report, for people and for programs."""

from __future__ import annotations

import copy
import json
import os
from typing import Any

from .. import _native


class Report:
    """The numbers, the text and the page of what the native part found."""

    def __init__(self, native: _native.ProbeReport | _native.CureReport) -> None:
        self._native = native
        self._numbers: dict[str, Any] = json.loads(native.json())

    @property
    def findings(self) -> list[dict[str, Any]]:
        """What is wrong, root cause first: each with `code`, `title`, `evidence`, `why`, `help`."""
        findings: list[dict[str, Any]] = self._numbers["findings"]
        return findings

    def to_dict(self) -> dict[str, Any]:
        """Returns every number."""
        return copy.deepcopy(self._numbers)

    def save_html(self, path: str | os.PathLike[str]) -> None:
        """Writes one page with the plots, which needs no network."""
        with open(path, "w", encoding="utf-8") as page:
            page.write(self._native.html())

    def __str__(self) -> str:
        return self._native.text(False)
