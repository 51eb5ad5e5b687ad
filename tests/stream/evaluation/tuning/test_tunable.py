"""The settings that can be tuned: never capacities, always within bounds."""

from typing import Annotated

from pydantic import Field

from stream.evaluation.tuning.tunable import NOT_TUNED, TunableSetting, differing, tunable_settings, with_values
from stream.models.settings import ModelSettings


def test_settings_that_are_not_tuned_exist():
    assert set(ModelSettings.model_fields) >= NOT_TUNED


def test_with_one_kind_of_events_nothing_of_the_default_model_is_tuned():
    assert tunable_settings(ModelSettings, ["click"]) == []


def test_with_several_kinds_their_weights_are_tuned():
    assert [setting.label for setting in tunable_settings(ModelSettings, ["view", "click"])] == [
        "weights.click",
        "weights.view",
    ]


def test_a_new_setting_with_bounds_is_tuned():
    class Extended(ModelSettings):
        half_life_days: Annotated[float, Field(ge=0.5, le=90)] = 30.0
        neighbours: Annotated[int, Field(ge=10, le=500)] = 100
        unbounded: Annotated[int, Field(ge=10)] = 100

    assert tunable_settings(Extended, ["click"]) == [
        TunableSetting("half_life_days", 0.5, 90.0),
        TunableSetting("neighbours", 10.0, 500.0, whole=True),
    ]


def test_the_starting_value_is_cut_to_the_bounds():
    heavy = ModelSettings(weights={"click": 50.0})
    assert TunableSetting("weights", -6, 6, kind="click").value_in(heavy) == 6.0
    assert TunableSetting("weights", -6, 6, kind="cart").value_in(heavy) == 2.0, (
        "a kind that is left out keeps its default"
    )
    assert TunableSetting("weights", -6, 6, kind="share").value_in(heavy) == 1.0


def test_a_new_weight_leaves_the_others():
    settings = with_values(ModelSettings(), [TunableSetting("weights", -6, 6, kind="cart")], {"weights.cart": 4.0})
    assert settings.weights == {**ModelSettings().weights, "cart": 4.0}
    assert list(differing(settings, ModelSettings())) == ["weights"]
