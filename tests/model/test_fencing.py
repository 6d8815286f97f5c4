"""The ownership protocol holds in every interleaving, and each of its rules is needed."""

import pytest

from tests.model.fencing import Bounds, Rule, explore

TWO_OWNERS = Bounds(owners=2, blocks=3, in_flight=2, segment_blocks=2, truncations=1, questions=True)
THREE_OWNERS = Bounds(owners=3, blocks=1, in_flight=1, segment_blocks=1)
SHORT_SEGMENTS = Bounds(owners=2, blocks=2, in_flight=1, segment_blocks=1, truncations=1, questions=True)


@pytest.mark.parametrize(
    "bounds", [TWO_OWNERS, THREE_OWNERS, SHORT_SEGMENTS], ids=["two-owners", "three-owners", "short-segments"]
)
def test_no_interleaving_breaks_a_promise(bounds: Bounds) -> None:
    outcome = explore(bounds)
    assert outcome.broken == []
    assert outcome.recovered > 1_000
    assert (outcome.truncated > 1_000) == (bounds.truncations > 0)
    assert (outcome.asked > 1_000) == bounds.questions


@pytest.mark.parametrize("rule", Rule, ids=[rule.name.lower() for rule in Rule])
def test_a_promise_breaks_without_the_rule(rule: Rule) -> None:
    assert explore(TWO_OWNERS, frozenset({rule})).broken, rule.value
