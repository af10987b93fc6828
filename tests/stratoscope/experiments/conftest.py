"""How the runs of these experiments are started."""

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module", autouse=True)
def _forked(request: pytest.FixtureRequest) -> Iterator[None]:
    """From this process, which has imported everything already; those of reports draw no pictures."""
    from tests.forked_runs import fork_runs  # which imports Lightning
    from tests.pictures import draw_nothing

    with pytest.MonkeyPatch.context() as patch:
        fork_runs(patch.setattr)
        if request.path.parent.name == "report":
            draw_nothing(patch.setattr)
        yield
