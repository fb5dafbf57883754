"""Random conversations through the stand-in give what they give directly; `make fuzz` sends a million messages."""

import random
import time
from collections.abc import Iterator

import pytest

from tests.local.rds_proxy import fuzzing


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[fuzzing.Ground]:
    with fuzzing.prepare(tmp_path_factory.mktemp("certificates")) as ground:
        yield ground


def test_conversations_are_answered_as_the_server_would(ground: fuzzing.Ground) -> None:
    outcome = fuzzing.Outcome()
    seed = time.time_ns() % 1_000_000
    fuzzing.compare(ground, random.Random(seed), outcome, conversations=24)  # noqa: S311
    assert outcome.differences == [], f"seed {seed}"
    assert outcome.messages > 4000
    assert outcome.pinned == 3


def test_noise_harms_nobody_else(ground: fuzzing.Ground) -> None:
    outcome = fuzzing.Outcome()
    seed = time.time_ns() % 1_000_000
    fuzzing.disturb(ground, random.Random(seed), outcome, clients=60)  # noqa: S311
    assert outcome.differences == [], f"seed {seed}"


def test_a_difference_is_told() -> None:
    conversation = fuzzing.converse(random.Random(1), steps=3)  # noqa: S311
    answers = [fuzzing.Answer([("D", b"one"), ("Z", b"I")]) for step in conversation.steps if step.ready]
    others = [*answers[:-1], fuzzing.Answer([("D", b"two"), ("Z", b"I")])]
    assert fuzzing.difference(conversation, answers, answers) is None
    assert "two" in str(fuzzing.difference(conversation, answers, others))
