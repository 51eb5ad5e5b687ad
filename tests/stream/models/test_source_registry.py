"""Entry points of sources of one's own: what is accepted, in which order, and what is refused with which message."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from types import SimpleNamespace

import pytest

from stream.models import source_registry
from stream.models.source_registry import ATTRIBUTES, GROUP, MAX_SOURCES, load, registered


def announced(**modules):
    return [EntryPoint(name, module, GROUP) for name, module in modules.items()]


def test_sources_are_sorted_by_name_whatever_their_order():
    forward = registered(announced(a="shop.a", b="shop.b", c="shop.c"))
    backward = registered(announced(c="shop.c", b="shop.b", a="shop.a"))
    assert list(forward.items()) == list(backward.items()) == [("a", "shop.a"), ("b", "shop.b"), ("c", "shop.c")]


def test_a_package_that_is_on_the_path_twice_counts_once():
    assert registered([*announced(a="shop.a"), *announced(a="shop.a")]) == {"a": "shop.a"}


def test_one_name_for_two_modules_is_refused():
    with pytest.raises(ValueError, match=r"two packages announce a source 'a' .*: one\.a and two\.a; rename one"):
        registered([*announced(a="one.a"), *announced(a="two.a")])


@pytest.mark.parametrize("name", ["Hour", "hour of day", "1st", "hour-of-day", ""])
def test_a_name_that_is_no_identifier_is_refused(name):
    with pytest.raises(ValueError, match=r"the name of a source is lower-case letters, digits and underscores"):
        registered([EntryPoint(name, "shop.a", GROUP)])


def test_an_entry_point_that_names_no_module_is_refused():
    with pytest.raises(ValueError, match=r"'a' .* is 'shop:a'; it must name a module"):
        registered(announced(a="shop:a"))


def test_more_sources_than_there_is_room_for_are_refused():
    four = {f"s{number}": f"shop.s{number}" for number in range(MAX_SOURCES)}
    assert len(registered(announced(**four))) == MAX_SOURCES
    with pytest.raises(ValueError, match=r"5 sources are announced .*\(extra, s0, s1, s2, s3\); there is room for 4"):
        registered(announced(**four, extra="shop.extra"))


@pytest.mark.parametrize("missing", ATTRIBUTES)
def test_a_module_that_lacks_something_is_refused(monkeypatch, missing):
    module = SimpleNamespace(**{name: 0 for name in ATTRIBUTES if name != missing})
    monkeypatch.setattr(source_registry, "CUSTOM_MODULES", {"a": "shop.a"})
    monkeypatch.setattr(source_registry.importlib, "import_module", lambda name: {"shop.a": module}[name])
    with pytest.raises(ValueError, match=rf"source 'a': the module shop\.a lacks {missing}; a source defines COLUMNS"):
        load("a")


def test_the_file_of_a_source_is_found_without_importing_its_package(monkeypatch, tmp_path):
    package = tmp_path / "shop_that_must_not_run"
    package.mkdir()
    (package / "__init__.py").write_text("raise AssertionError('imported')")
    (package / "a.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(source_registry, "CUSTOM_MODULES", {"a": f"{package.name}.a", "b": "no_such_package.b"})
    assert source_registry.source_files() == [package / "a.py"]
