"""How the tests run here: properties with the same examples every time, tables of one width, the kernel in one process.

Hypothesis also draws numbers and words that stand in whatever modules of ours are loaded: which ones are depends on the
tests that ran before, so that a property failed beside the others and passed by itself.  Here it draws none of them.
"""

import pytest
from hypothesis import Phase, settings
from hypothesis.internal.conjecture import engine, providers

settings.register_profile(
    "netpersona", deadline=None, derandomize=True, phases=[phase for phase in Phase if phase != Phase.explain]
)
settings.load_profile("netpersona")
# there is no setting of either; tests/properties/test_examples.py shows that the first still does what it should
providers.is_local_module_file = lambda _: False
engine.MAX_SHRINKING_SECONDS = 30  # instead of five minutes, in which the rest of the tests could run


@pytest.fixture(autouse=True)
def _plain_wide_tables(monkeypatch):
    """What a command draws does not depend on the terminal from which the tests are started."""
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.delenv("FORCE_COLOR", raising=False)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """A worker takes a file at a time, and all that is done in the kernel, which waits more than it computes, is one's.

    So no two of these tests are beside each other, and the other worker computes meanwhile.
    """
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid):
            return "kernel" if "/kernel/" in nodeid else super()._split_scope(nodeid)

    return Scheduling(config, log) if config.getoption("dist") == "loadfile" else None
