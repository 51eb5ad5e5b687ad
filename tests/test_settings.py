"""Settings: names, precedence, and the refusal of everything misspelt or impossible."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from stream.models.settings import DEFAULT_WEIGHTS, KNOWN_KINDS, ModelSettings
from stream.settings import RENAMED, Settings, WrongSetting, load_settings, setting_table


def test_variables_reach_their_settings() -> None:
    settings = load_settings(
        {
            "CORRENTE_KAFKA": "one:9092,two:9093",
            "CORRENTE_FIELDS": '{"item": "product_id"}',
            "CORRENTE_MODEL__MAX_ITEMS": "1000",
            "CORRENTE_MODEL__WEIGHTS": '{"click": 2}',
            "PATH": "/bin",
        }
    )
    assert settings.kafka == "one:9092,two:9093"
    assert settings.fields == {"item": "product_id"}
    assert settings.model.max_items == 1000
    assert settings.model.weights == {**DEFAULT_WEIGHTS, "click": 2.0}


def test_options_win_over_variables_and_leave_the_rest_of_the_model_alone() -> None:
    settings = load_settings({"CORRENTE_PORT": "1", "CORRENTE_MODEL__MAX_ITEMS": "1000"}, port=2, model={"seed": 5})
    assert (settings.port, settings.model.max_items, settings.model.seed) == (2, 1000, 5)


def test_the_environment_is_read_by_load_settings_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORRENTE_PORT", "1234")
    assert Settings().port == Settings.model_fields["port"].default
    assert load_settings({}).port == Settings().port
    assert load_settings().port == 1234
    assert os.environ["CORRENTE_PORT"] == "1234"


@pytest.mark.parametrize(
    ("name", "value", "right"),
    [
        ("CORRENTE_PORT", "abc", "integer"),
        ("CORRENTE_PORT", "", "integer"),
        ("CORRENTE_PORT", "70000", "65535"),
        ("CORRENTE_KAFKA", "localhost", "host:port"),
        ("CORRENTE_REDIS", "localhost:6379", "redis://"),
        ("CORRENTE_FIELDS", "{item", "as JSON"),
        ("CORRENTE_FIELDS", "[1]", "dictionary"),
        ("CORRENTE_CLICKS_TOPIC", "", "1 to 249 letters"),
        ("CORRENTE_PURCHASES_TOPIC", "my sales", "1 to 249 letters"),
        ("CORRENTE_FEEDBACK_TOPIC", "..", "1 to 249 letters"),
        ("CORRENTE_DEAD_LETTERS_TOPIC", "x" * 250, "1 to 249 letters"),
        ("CORRENTE_GROUP", " ", "leave the variable out for the default"),
        ("CORRENTE_GROUP", "shop ", "no blanks around it"),
        ("CORRENTE_FIELDS", "", "as JSON"),
        ("CORRENTE_LOG_LEVEL", "loud", "'debug', 'info', 'warning' or 'error'"),
        ("CORRENTE_MODEL__MAX_ITEMS", "1", "64"),
        ("CORRENTE_PUBLISH_SECONDS", "0", "greater than 0"),
        ("CORRENTE_ROOT_PATH", "shop/", "'^(/"),
        ("CORRENTE_ROOT_PATH", "/v1/shop", "beginning of own routes"),
        ("CORRENTE_TRUSTED_PROXIES", "10.0.0.300", "IPv4"),
        ("CORRENTE_TRUSTED_PROXIES", "127.0.0.1,10.0.0.1/8", "host bits"),
        ("CORRENTE_PROT", "8080", "Did you mean CORRENTE_PORT?"),
        ("CORRENTE_MODEL__SEEDS", "1", "Did you mean CORRENTE_MODEL__SEED?"),
        ("CORRENTE_MODEL", "{}", "there is no such setting"),
        ("CORRENTE_XYZZY", "1", "There are: CORRENTE_"),
    ],
)
def test_a_wrong_setting_is_refused_by_name_value_and_what_would_be_right(name: str, value: str, right: str) -> None:
    with pytest.raises(WrongSetting) as refused:
        load_settings({name: value})
    assert str(refused.value).startswith(name)
    assert repr(value)[1:-1] in str(refused.value)
    assert right in str(refused.value)


@pytest.mark.parametrize(
    ("fields", "right"),
    [
        ('{"itm": "product_id"}', "no event has a field 'itm'. Did you mean 'item'?"),
        ('{"product_id": "item"}', "Our name comes first, the producers' second"),
        ('{"item": ""}', "the producers' name of 'item' is empty"),
        ('{"item": "x", "user": "x"}', "in clicks, the fields 'item' and 'user' would both be read from 'x'"),
        ('{"item": "user"}', "give 'user' another one, too"),
        ('{"value": "price"}', None),
        ('{"kind": "value"}', "in feedback, the fields 'kind' and 'value' would both be read from 'value'"),
        ('{"item": "user", "user": "item"}', None),
    ],
)
def test_field_names_that_no_event_can_have_are_refused(fields: str, right: str | None) -> None:
    if right is None:
        assert load_settings({"CORRENTE_FIELDS": fields}).fields
        return
    with pytest.raises(WrongSetting) as refused:
        load_settings({"CORRENTE_FIELDS": fields})
    assert str(refused.value).startswith("CORRENTE_FIELDS=")
    assert right in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("salt", ["", "  "])
def test_an_empty_salt_is_refused_with_a_command_that_makes_one(salt: str) -> None:
    with pytest.raises(WrongSetting, match=r"CORRENTE_MODEL__VISITOR_SALT is empty.*openssl rand -hex 32"):
        load_settings({"CORRENTE_MODEL__VISITOR_SALT": salt})
    assert ModelSettings(visitor_salt="").visitor_salt == "", "manifests of release 0.1 may have it"


def test_a_wrong_weight_is_named_by_its_kind() -> None:
    with pytest.raises(WrongSetting, match=r"CORRENTE_MODEL__WEIGHTS \(click\)='much': .*number"):
        load_settings({"CORRENTE_MODEL__WEIGHTS": '{"click": "much"}'})


def test_a_weight_replaces_that_of_its_kind_alone() -> None:
    assert load_settings({"CORRENTE_MODEL__WEIGHTS": "{}"}).model.weights == DEFAULT_WEIGHTS
    heavier = load_settings({"CORRENTE_MODEL__WEIGHTS": '{"click": 2, "orders": 4}'}).model.weights
    assert heavier == {**DEFAULT_WEIGHTS, "click": 2.0, "orders": 4.0}
    assert {kind for kind, weight in heavier.items() if weight < 0} == {"dislike", "return"}, "no praise by omission"


def test_a_negative_kind_becomes_positive_only_by_a_value_that_is_given_for_it() -> None:
    given = load_settings({"CORRENTE_MODEL__WEIGHTS": '{"dislike": 1}'}).model.weights
    assert (given["dislike"], given["return"]) == (1.0, DEFAULT_WEIGHTS["return"])


def test_weights_of_an_older_manifest_get_the_defaults_of_the_kinds_that_it_left_out() -> None:
    assert ModelSettings(weights={"click": 2.0}).weights == {**DEFAULT_WEIGHTS, "click": 2.0}


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_weight_that_is_not_finite_is_refused_by_its_kind(value: str) -> None:
    with pytest.raises(WrongSetting, match=r"CORRENTE_MODEL__WEIGHTS \(cart\)=.*finite number"):
        load_settings({"CORRENTE_MODEL__WEIGHTS": f'{{"cart": {value}}}'})


def test_a_kind_that_has_no_meaning_here_is_named_with_the_nearest_one(caplog: pytest.LogCaptureFixture) -> None:
    load_settings({"CORRENTE_MODEL__WEIGHTS": '{"purchases": 5, "Like": 1, "xyzzy": 2, "cart": 4, "rating": 1}'})
    like, purchases, other = [record.getMessage() for record in caplog.records]
    assert "'purchases' counts as a kind of your own, with weight 5" in purchases
    assert "If 'purchase' is meant, write that; it has weight 3 now" in purchases
    assert "If 'like' is meant" in like
    assert "'xyzzy' counts as a kind of your own" in other
    assert f"here are {', '.join(KNOWN_KINDS)}" in other


def test_every_wrong_setting_is_named_at_once() -> None:
    with pytest.raises(WrongSetting) as refused:
        load_settings({"CORRENTE_PORT": "x", "CORRENTE_PARTITIONS": "0"})
    assert len(str(refused.value).splitlines()) == 2


def test_a_password_in_an_address_is_not_repeated() -> None:
    with pytest.raises(WrongSetting) as refused:
        load_settings({"CORRENTE_REDIS": "http://user:secret@host:1"})
    assert "secret" not in str(refused.value)


def test_every_setting_says_what_it_is_and_its_default_can_be_written_as_a_variable() -> None:
    for row in setting_table():
        assert row.description.endswith((".", "`.")), row.name
        assert load_settings({row.name: row.default}) == Settings(), row.name


def test_model_settings_survive_the_way_through_a_version() -> None:
    settings = ModelSettings(seed=3, repeats="first")
    assert ModelSettings.model_validate_json(settings.model_dump_json()) == settings


@pytest.mark.parametrize(("old", "new"), sorted(RENAMED.items()))
def test_an_old_name_of_a_setting_still_works_and_logs_one_line(
    old: str, new: str, caplog: pytest.LogCaptureFixture
) -> None:
    value = "0.25" if new.endswith("SHARE") else "2048"
    assert load_settings({old: value}) == load_settings({new: value}) != load_settings({})
    assert [record.getMessage() for record in caplog.records] == [f"{old} is deprecated: it is called {new} now"]


def test_a_setting_under_both_names_is_refused() -> None:
    with pytest.raises(WrongSetting, match=r"CORRENTE_BODY_BYTES.*old name of CORRENTE_MAX_BODY_BYTES"):
        load_settings({"CORRENTE_BODY_BYTES": "2048", "CORRENTE_MAX_BODY_BYTES": "2048"})
    with pytest.raises(ValueError, match="items is the old name of max_items"):
        ModelSettings(items=64, max_items=64)


def test_model_settings_of_an_old_manifest_compare_equal() -> None:
    old = {"items": 64, "visitors": 65, "sessions": 66, "event_ids": 67, "seed": 3}
    assert ModelSettings(**old) == ModelSettings(
        max_items=64, max_visitors=65, max_sessions=66, max_event_ids=67, seed=3
    )


@pytest.mark.parametrize(
    ("first", "second"),
    [("CLICKS", "PURCHASES"), ("PURCHASES", "FEEDBACK"), ("FEEDBACK", "DEAD_LETTERS"), ("CLICKS", "DEAD_LETTERS")],
)
def test_two_topics_of_one_name_are_refused_by_both_names(first: str, second: str) -> None:
    given = {f"CORRENTE_{first}_TOPIC": "events", f"CORRENTE_{second}_TOPIC": "events"}
    with pytest.raises(WrongSetting) as refused:
        load_settings(given)
    assert f"CORRENTE_{first}_TOPIC and CORRENTE_{second}_TOPIC both name the topic 'events'" in str(refused.value)


@pytest.mark.unmeasured
def test_a_wrong_mapping_is_refused_with_the_setting_and_the_line(tmp_path: Path) -> None:
    path = tmp_path / "shop.yaml"
    path.write_text("topics:\n  clicks:\n    fields:\n      itm: sku\n")
    with pytest.raises(WrongSetting, match=r"CORRENTE_MAPPING=.*shop.yaml, line 4: no event has a field 'itm'"):
        load_settings({"CORRENTE_MAPPING": str(path)})
    with pytest.raises(WrongSetting, match=r"no ready-made mapping of this name\. Did you mean 'ga4'"):
        load_settings({"CORRENTE_MAPPING": "ga5"})
    with pytest.raises(WrongSetting, match="CORRENTE_FIELDS is given, too"):
        load_settings({"CORRENTE_MAPPING": "ga4", "CORRENTE_FIELDS": '{"item": "sku"}'})
    assert load_settings({"CORRENTE_MAPPING": "ga4"}).mapping_plan.topics.keys() == {"clicks"}
