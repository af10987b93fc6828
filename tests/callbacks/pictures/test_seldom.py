"""Tests of what is done more seldom the dearer it is."""

from stratoscope.callbacks.pictures.seldom import FIRST, SHARE, Seldom


def test_it_takes_a_small_share_of_the_time_and_is_done_at_the_end() -> None:
    """Work that grows is done at once, then so seldom that it keeps to its share, and at last if something is owed."""
    now, spent, done = 0.0, 0.0, list[float]()

    def work() -> None:
        nonlocal now, spent
        cost = 0.1 + len(done) / 10
        now, spent = now + cost, spent + cost
        done.append(now)

    seldom = Seldom(clock=lambda: now)
    for _ in range(2000):
        now += 1
        seldom.perhaps(work)
    assert FIRST <= done[0] < FIRST + 2
    assert len(done) > 10
    assert spent <= SHARE * now + 0.1 + len(done) / 10  # the last one is followed by its share of time
    seldom.at_last(work)
    assert done[-1] == now
    count = len(done)
    seldom.at_last(work)
    assert len(done) == count


def test_what_an_earlier_process_owed_is_done_at_the_end() -> None:
    """A run that goes on and has nothing more to do does what was owed."""
    done: list[int] = []
    Seldom().at_last(lambda: done.append(0))
    assert not done
    Seldom(owed=True).at_last(lambda: done.append(0))
    assert done == [0]
