"""Settings from files with one value, and from a file of settings: precedence, mistakes and origins."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream.models.settings import ModelSettings
from stream.settings import Settings, WrongSetting, load_settings, resolve, setting_table

TOML = """\
kafka = "one:9092"
port = 1
redis_password_file = "PASSWORD"

[fields]
item = "product_id"

[model]
seed = 3
max_items = 1000

[model.weights]
click = 2

[models.shop]   # the first one
port = 2
clicks_topic = "shop-clicks"
max_items = 2000

[models.books]
seed = 4
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    secret = tmp_path / "secret"
    secret.write_text("s#cr/t?@\n")
    path = tmp_path / "corrente.toml"
    path.write_text(TOML.replace("PASSWORD", str(secret)))
    return path


def settings_of(config: Path, model: str, **variables: str) -> Settings:
    return load_settings({"CORRENTE_CONFIG": str(config), "CORRENTE_MODEL_NAME": model, **variables})


# ---- files with one value


@pytest.mark.parametrize(("content", "value"), [("s#c\n", "s#c"), ("s\r\n", "s"), (" s \n\n", " s \n"), ("s", "s")])
def test_any_setting_can_be_read_from_a_file_without_the_end_of_its_line(
    tmp_path: Path, content: str, value: str
) -> None:
    path = tmp_path / "secret"
    path.write_bytes(content.encode())
    assert load_settings({"CORRENTE_REDIS_PASSWORD_FILE": str(path)}).redis_password == value
    assert load_settings({"CORRENTE_MODEL__VISITOR_SALT_FILE": str(path)}).model.visitor_salt == value


def test_values_in_files_are_read_like_those_of_variables(tmp_path: Path) -> None:
    for name, text in (("port", "9000\n"), ("fields", '{"item": "product"}\n')):
        (tmp_path / name).write_text(text)
    settings = load_settings({f"CORRENTE_{name.upper()}_FILE": str(tmp_path / name) for name in ("port", "fields")})
    assert (settings.port, settings.fields) == (9000, {"item": "product"})
    (tmp_path / "port").write_text("many")
    with pytest.raises(WrongSetting, match=r"CORRENTE_PORT_FILE='many': .*integer"):
        load_settings({"CORRENTE_PORT_FILE": str(tmp_path / "port")})


def test_no_name_with_file_behind_it_stands_for_two_settings() -> None:
    names = {row.name for row in setting_table()}
    assert {name for name in names if f"{name}_FILE" in names} == set()


@pytest.mark.parametrize(
    ("content", "problem"),
    [(None, "No such file"), (b"", "empty"), (b"\xff\xfe", "UTF-8"), (b"x" * 2_000_000, "short")],
)
def test_a_file_without_a_value_is_refused_by_its_path(tmp_path: Path, content: bytes | None, problem: str) -> None:
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(WrongSetting, match=f"CORRENTE_REDIS_PASSWORD_FILE='{path}': .*{problem}"):
        load_settings({"CORRENTE_REDIS_PASSWORD_FILE": str(path)})


def test_a_setting_given_by_itself_and_by_a_file_is_refused(config: Path) -> None:
    with pytest.raises(WrongSetting, match="CORRENTE_PORT is set too"):
        load_settings({"CORRENTE_PORT": "1", "CORRENTE_PORT_FILE": str(config)})


def test_a_misspelt_name_of_a_file_is_corrected() -> None:
    with pytest.raises(WrongSetting, match=r"Did you mean CORRENTE_REDIS_PASSWORD_FILE\?"):
        load_settings({"CORRENTE_REDIS_PASWORD_FILE": "/run/secrets/redis"})


@pytest.mark.parametrize("name", ["CORRENTE_REDIS_PASSWRD", "CORRENTE_REDIS_PASS", "CORRENTE_MODEL__VISITOR_SALTS"])
def test_a_value_under_a_misspelt_secret_name_is_not_shown(name: str) -> None:
    with pytest.raises(WrongSetting) as refused:
        load_settings({name: "hunter2"})
    assert "hunter2" not in str(refused.value)


# ---- a file of settings


def test_the_table_of_a_model_wins_over_the_rest_of_the_file(config: Path) -> None:
    shop, books = settings_of(config, "shop"), settings_of(config, "books")
    assert (shop.port, shop.clicks_topic, shop.model.max_items, shop.model.seed) == (2, "shop-clicks", 2000, 3)
    assert (books.port, books.clicks_topic, books.model.max_items, books.model.seed) == (1, "clicks", 1000, 4)
    assert shop.kafka == "one:9092"
    assert shop.fields == {"item": "product_id"}
    assert shop.model.weights["click"] == 2.0
    assert shop.redis_password == "s#cr/t?@"


def test_options_win_over_variables_and_those_over_the_file(config: Path) -> None:
    variables = {"CORRENTE_CONFIG": str(config), "CORRENTE_PORT": "7", "CORRENTE_MODEL__SEED": "8"}
    settings, origins = resolve(variables, model_name="shop", host="h")
    assert (settings.host, settings.port, settings.model.seed, settings.model.max_items) == ("h", 7, 8, 2000)
    line = TOML.splitlines().index("max_items = 2000") + 1
    assert origins["CORRENTE_HOST"] == "option of the command"
    assert origins["CORRENTE_PORT"] == origins["CORRENTE_MODEL__SEED"] == "environment"
    assert origins["CORRENTE_MODEL__MAX_ITEMS"] == f"{config}, line {line}"
    assert origins["CORRENTE_REDIS_PASSWORD"] == f"{config.parent / 'secret'} ({config}, line 3)"
    assert "CORRENTE_GROUP" not in origins


def test_the_file_may_choose_the_model_itself(config: Path) -> None:
    config.write_text('model_name = "books"\n' + config.read_text())
    assert load_settings({"CORRENTE_CONFIG": str(config)}).model.seed == 4


def test_a_model_without_a_table_is_refused_where_there_are_tables(config: Path) -> None:
    with pytest.raises(WrongSetting, match=r"no table \[models\.shpo\].*Did you mean shop\?"):
        settings_of(config, "shpo")
    config.write_text("port = 1")
    assert settings_of(config, "shpo").port == 1


@pytest.mark.parametrize(
    ("written", "line", "right"),
    [
        ("prot = 1", 1, r"prot=1: there is no such setting. Did you mean port\?"),
        ("[modle]\nseed = 1", 1, r"modle: there is no such setting. Did you mean model"),
        ("port = 1\n\n[model]\nsed = 1", 4, r"model.sed=1: .*Did you mean model.seed\?"),
        ("[models.default]\nmax_item = 1", 2, r"max_item=1: .*Did you mean max_items\?"),
        ('[models.default]\nmodel_name = "x"', 2, "model_name='x': there is no such setting"),
        ("[models.default]\n[models.other]\nprot = 1", 3, r"Did you mean port\?"),
        ('port = "many"', 1, "port='many': .*integer"),
        ("[model]\nmax_items = 1", 2, "model.max_items=1: .*64"),
        ("[models.default]\nmax_items = 1", 2, "max_items=1: .*64"),
        ("models = 3", 1, r"write \[models.NAME\]"),
        ("redis_password_file = 3", 1, "not the path of a file"),
        ("redis_password = 12345", 1, "redis_password='…': .*string"),
    ],
)
def test_a_mistake_in_the_file_is_named_by_its_line_and_the_nearest_name(
    tmp_path: Path, written: str, line: int, right: str
) -> None:
    path = tmp_path / "corrente.toml"
    path.write_text(written)
    with pytest.raises(WrongSetting, match=rf"corrente\.toml, line {line}: .*{right}"):
        load_settings({"CORRENTE_CONFIG": str(path)})


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "corrente.toml"
    with pytest.raises(WrongSetting, match=r"CORRENTE_CONFIG='.*corrente\.toml': the file can't be read: No such file"):
        load_settings({"CORRENTE_CONFIG": str(path)})
    path.write_text("port = \n")
    with pytest.raises(WrongSetting, match=r"corrente\.toml: not TOML: .*line 1"):
        load_settings({"CORRENTE_CONFIG": str(path)})


def test_a_table_of_a_model_can_tell_settings_of_the_model_from_all_others() -> None:
    assert set(ModelSettings.model_fields).isdisjoint(Settings.model_fields)
