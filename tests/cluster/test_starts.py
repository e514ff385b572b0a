"""Around the loading of libraries nothing is looked through for garbage, and what it was before it is afterwards."""

import gc

import pytest

from explore_rl.cluster.starts import loading


@pytest.mark.parametrize("was_on", [True, False])
def test_garbage_is_collected_afterwards_as_before(was_on):
    (gc.enable if was_on else gc.disable)()
    try:
        with pytest.raises(ImportError), loading():
            assert not gc.isenabled()
            raise ImportError
        assert gc.isenabled() == was_on
    finally:
        gc.enable()
        gc.unfreeze()
