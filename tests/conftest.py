"""What every test may count on: no setting of the machine that runs the tests reaches them."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.upper().startswith("CORRENTE_"):
            monkeypatch.delenv(name)
