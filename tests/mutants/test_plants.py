"""Every rule of the core and of the shell has a test that fails without it."""

from __future__ import annotations

import pytest

from tests.mutants import core, shell
from tests.mutants.planting import NotTriedError, Plant

pytestmark = pytest.mark.timeout(900)  # minutes of processor time, on a machine that others use, too


@pytest.mark.parametrize("plant", [*core.PLANTS, *shell.PLANTS], ids=lambda plant: plant.name)
def test_a_mutant_is_caught(plant: Plant) -> None:
    try:
        assert plant.survives() is None
    except NotTriedError as error:
        pytest.skip(str(error))


def test_a_mutant_that_no_longer_fits_is_an_error() -> None:
    plant = Plant("odd", "", "", "controller.daemon.executor", "this text stands nowhere", "", "")
    with pytest.raises(LookupError, match="mutant odd: its text stands 0 times"):
        plant.survives()
