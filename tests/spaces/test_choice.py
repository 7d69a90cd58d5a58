from __future__ import annotations

import pickle

import pytest

from spaces.choice import Choice
from understudy import SpaceError


def test_a_choice_is_a_hashable_mapping_whatever_its_order():
    one, two = Choice({"a": 1, "b": "x"}), Choice({"b": "x", "a": 1})
    assert one == two
    assert hash(one) == hash(two)
    assert one.key == two.key == '{"a":1,"b":"x"}'
    assert dict(one) == {"a": 1, "b": "x"}
    assert pickle.loads(pickle.dumps(one)) == one


def test_kinds_of_value_are_told_apart():
    assert len({Choice({"a": value}) for value in (1, 1.0, True, "1")}) == 4


def test_a_choice_does_not_change_with_what_it_was_made_of():
    values = {"a": 1}
    choice = Choice(values)
    values["a"] = 2
    assert choice["a"] == 1
    with pytest.raises(TypeError):
        choice["a"] = 3


@pytest.mark.parametrize("value", [None, [1], float("nan"), float("inf")])
def test_other_values_are_refused(value):
    with pytest.raises(SpaceError, match="choice 'a' must be a finite number"):
        Choice({"a": value})
