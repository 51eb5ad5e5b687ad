"""Secrets and what is made of them are compared in constant time, wherever keys and tokens are handled."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[3]
FOLDERS = ("serving/access", "stream/access")
SECRET = re.compile(r"digest|signature|secret|hmac|sha256|\btoken\b|\bkey\.text\b")
"""Text of an operand that holds a secret, or what is made of one."""

EMPTY = {"''", "b''", "None"}
"""Whether something is there at all is no secret."""


def comparisons(source: str) -> Iterator[str]:
    """Comparisons of secrets that end at the first byte that differs."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Compare) and any(isinstance(each, ast.Eq | ast.NotEq) for each in node.ops):
            operands = [ast.unparse(each) for each in (node.left, *node.comparators)]
            if not EMPTY & set(operands) and any(SECRET.search(each) for each in operands):
                yield ast.unparse(node)


def test_no_secret_is_compared_with_equals() -> None:
    found = {
        f"{path.relative_to(ROOT)}: {each}"
        for folder in FOLDERS
        for path in (ROOT / folder).glob("*.py")
        for each in comparisons(path.read_text())
    }
    assert found == set()


def test_keys_and_signatures_are_compared_in_constant_time() -> None:
    for path in ("serving/access/guard.py", "stream/access/visitor_token.py"):
        assert "compare_digest(" in (ROOT / path).read_text(), path


def test_a_comparison_of_a_digest_is_found() -> None:
    assert list(comparisons("if key.digest == digest: pass")) == ["key.digest == digest"]
    assert list(comparisons("if secret == '' or names == other: pass")) == []
