import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnist12k.search.space import Cases, Choices, Range, corners, parse_space


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"gamma": {"low": 0.5, "high": 0.1}}, "gamma: low 0.5 is not below high 0.1"),
        ({"gamma": {"low": 0.5, "high": 0.5}}, "gamma: low 0.5 is not below high 0.5"),
        (
            {"gamma": {"low": 0, "high": 1, "log": True}},
            "gamma: with log: true low must be above 0, and is 0",
        ),
        ({"gamma": {"low": 0}}, "gamma = {'low': 0}: a range is"),
        ({"gamma": {"low": 0, "high": 1, "steps": 2}}, "a range is {low: ..., high: ..."),
        ({"gamma": {"low": 0, "high": 1, "step": 2}}, "gamma: from low 0 no steps of 2 lead to hi"),
        ({"gamma": {"low": 0, "high": 1, "step": 0}}, "gamma: from low 0 no steps of 0 lead to hi"),
        ({"gamma": {"low": 0, "high": 1, "step": 0.3}}, "gamma: from low 0 no steps of 0.3 lead"),
        (
            {"gamma": {"low": 1, "high": 2, "step": 0.5, "log": True}},
            "gamma: a step and log: true exclude each other",
        ),
        (
            {"gamma": [0.1, 0.2], "schedule": {"step": {"gamma": [0.1]}}},
            "schedule.step: gamma stands outside the case, too",
        ),
        (
            {"schedule": {"step": {"a": [1]}, "linear": {"a": {"low": 0, "high": 1}}}},
            "schedule.linear: a is of another kind in another case of schedule",
        ),
        ({"gamma": {"low": "0", "high": 1}}, "gamma: '0' is not a finite number"),
        ({"gamma": {"low": 0, "high": float("nan")}}, "gamma: nan is not a finite number"),
        ({"gamma": {"low": 0, "high": float("inf")}}, "gamma: inf is not a finite number"),
        ({"gamma": {"low": 0, "high": 1, "log": 1}}, "gamma.log = 1: allowed: true, false"),
        ({"gamma": []}, "gamma = [] is empty"),
        ({"gamma": [1, 1]}, "gamma = [1, 1] has a duplicate"),
        ({"gamma": None}, "gamma = None: allowed: {low: ..., high: ...}, a list, a constant, or"),
        ({"gamma": {}}, "gamma = {}: allowed"),
        ({"dropout": [{"low": 1, "high": 0}]}, "dropout.0: low 1 is not below high 0"),
        ({"schedule": {"step": {"gamma": []}}}, "schedule.step: gamma = [] is empty"),
        ({"schedule": {"step": 3}}, "schedule.step: 3 is not a mapping"),
        ([1], "[1] is not a mapping"),
    ],
)
def test_an_invalid_space_is_an_error_of_one_line_that_names_the_parameter(
    content: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=f"^[^\n]*{re.escape(message)}[^\n]*$"):
        parse_space(content)


def test_a_space_has_ranges_choices_lists_of_ranges_and_cases() -> None:
    space = parse_space(
        {
            "learning_rate": {"low": 0.1, "high": 1, "log": True},
            "batch_size": [64, None],
            "momentum": 0.9,
            "rotation": {"low": 0, "high": 12, "step": 4},
            "dropout": [{"low": 0, "high": 0.1}, {"low": 0, "high": 0.2}],
            "schedule": {"linear": {}, "cosine": {"final_fraction": {"low": 0, "high": 0.1}}},
        }
    )
    assert space == {
        "learning_rate": Range(0.1, 1, True),
        "batch_size": Choices((64, None)),
        "momentum": Choices((0.9,)),
        "rotation": Range(0, 12, False, 4),
        "dropout.0": Range(0, 0.1),
        "dropout.1": Range(0, 0.2),
        "schedule": Cases({"linear": {}, "cosine": {"final_fraction": Range(0, 0.1)}}),
    }


dimensions = st.one_of(
    st.builds(
        lambda low, width: {"low": low, "high": low + width},
        st.integers(-100, 100),
        st.integers(1, 100),
    ),
    st.lists(st.integers(), min_size=1, max_size=4, unique=True),
)
spaces = st.dictionaries(st.sampled_from("abcd"), dimensions, max_size=3)


@given(outer=spaces, cases=st.dictionaries(st.sampled_from("xyz"), spaces, min_size=1))
def test_corners_contain_every_end_every_choice_and_every_case(
    outer: dict[str, Any], cases: dict[str, Any]
) -> None:
    cases = {
        case: {f"{case}_{name}": dimension for name, dimension in own.items()}
        for case, own in cases.items()
    }
    points = list(corners(parse_space(outer | {"case": cases})))
    assert {point["case"] for point in points} == set(cases)
    for name, dimension in outer.items():
        reached = {point[name] for point in points}
        ends = [dimension["low"], dimension["high"]] if isinstance(dimension, dict) else dimension
        assert set(ends) <= reached
