"""A short walk of the random person; ``python -m Testing.annotation.session_machine`` is the long one."""

from __future__ import annotations

from Testing.annotation.session_machine import run


def test_random_people_lose_nothing() -> None:
    assert run(examples=15, steps=40) > 100
