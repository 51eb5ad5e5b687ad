"""The error of a setting that can't be used. This file decides how it ends a program: with its text and exit code 2."""

from __future__ import annotations


class WrongSetting(ValueError):
    """A setting that is unknown or has an impossible value; the text says what would be right."""
