"""Settings about keys: their form is checked at the start, and no text shows one."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream.access_settings import check_key_text
from stream.settings import WrongSetting, load_settings

KEY = "corrente_" + "5f" * 32


@pytest.mark.parametrize("name", ["CORRENTE_FIRST_KEY", "CORRENTE_API_KEY"])
def test_a_key_comes_from_a_variable_or_a_file_and_is_not_in_the_text_of_the_settings(
    name: str, tmp_path: Path
) -> None:
    (tmp_path / "key").write_text(f"{KEY}\n")
    field = name.removeprefix("CORRENTE_").lower()
    for given in ({name: KEY}, {f"{name}_FILE": str(tmp_path / "key")}):
        settings = load_settings(given)
        assert getattr(settings, field).get_secret_value() == KEY
        assert KEY[9:] not in repr(settings)


@pytest.mark.parametrize(
    "wrong",
    [KEY[:-1], KEY + "0", KEY.upper(), f" {KEY}", "hunter2" * 4],
    ids=["short", "long", "upper", "blank", "other"],
)
@pytest.mark.parametrize("name", ["CORRENTE_FIRST_KEY", "CORRENTE_API_KEY"])
def test_what_is_no_key_is_refused_without_being_repeated(name: str, wrong: str) -> None:
    with pytest.raises(WrongSetting, match=f"{name}.*this is no key: a key is 'corrente_' and 64 hex") as refused:
        load_settings({name: wrong})
    assert wrong.strip()[9:] not in str(refused.value)
    with pytest.raises(ValueError, match="this is no key"):
        check_key_text(wrong)


@pytest.mark.parametrize("wrong", ["fifteen-letters", "a b" * 10, "ü" * 20])
def test_a_token_that_can_be_guessed_or_sent_in_no_header_is_refused_without_being_repeated(wrong: str) -> None:
    with pytest.raises(WrongSetting, match=r"CORRENTE_METRICS_TOKEN.*a token has at least 16 printable") as refused:
        load_settings({"CORRENTE_METRICS_TOKEN": wrong})
    assert wrong not in str(refused.value)


def test_a_misspelt_name_does_not_show_the_key() -> None:
    with pytest.raises(WrongSetting, match=r"CORRENTE_APIKEY='…': there is no such setting.*CORRENTE_API_KEY"):
        load_settings({"CORRENTE_APIKEY": KEY})
