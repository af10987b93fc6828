"""Tests of probes/giving_up.py."""

from collections.abc import Iterator
from threading import Thread

import pytest

from stratoscope.probes.giving_up import given_up_by, go_on


@pytest.fixture(autouse=True)
def _nobody_waits_in_the_end() -> Iterator[None]:
    yield
    given_up_by(None)


def test_without_anybody_who_may_end_it_a_computation_goes_on() -> None:
    """Neither question raises anything; nor after whoever might is gone."""
    given_up_by(lambda _: pytest.fail("nobody is to be asked"))
    given_up_by(None)
    go_on()
    go_on(together=True)


def test_whoever_may_end_it_is_asked_and_what_it_raises_ends_it() -> None:
    """It is told whether all processes ask at that place."""
    asked: list[bool] = []

    def check(together: bool) -> None:
        asked.append(together)
        if len(asked) == 3:
            raise SystemExit(143)

    given_up_by(check)
    go_on()
    go_on(together=True)
    with pytest.raises(SystemExit) as ended:
        go_on()
    assert ended.value.code == 143
    assert asked == [False, True, False]


def test_another_thread_is_not_given_up() -> None:
    """What is set holds in its thread alone, such as the one that trains."""
    given_up_by(lambda _: pytest.fail("this is another thread"))
    done: list[bool] = []

    def compute() -> None:
        go_on()
        done.append(True)

    thread = Thread(target=compute)
    thread.start()
    thread.join()
    assert done == [True]
