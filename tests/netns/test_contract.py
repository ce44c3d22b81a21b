"""Bare metal keeps the contract that providers are published with, on a kernel of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from controller.contracts import ProviderContract
from providers.baremetal.provider import BareMetal, BareMetalOptions

if TYPE_CHECKING:
    from controller.contracts.providers import MakeProvider
    from tests.netns.conftest import Lan

pytestmark = pytest.mark.netns


class TestBareMetal(ProviderContract):
    @pytest.fixture
    def make_provider(self, lan: Lan) -> MakeProvider:
        options = BareMetalOptions()
        return lambda _, clock: BareMetal.open(options, group="web", vips=lan.vips, clock=clock)
