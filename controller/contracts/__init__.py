"""The contracts of stores, providers and movers, as pytest classes that their authors subclass.

    from controller.contracts import StoreContract

The package needs `pip install anyvip[contracts]`. docs/writing-a-store.md and docs/writing-a-provider.md show its use.
"""

import pytest

for part in ("stores", "unknown", "watch", "providers", "movers"):
    pytest.register_assert_rewrite(f"{__name__}.{part}")

from controller.contracts.clock import LogicalClock  # noqa: E402  (after their registration)
from controller.contracts.movers import MoverContract  # noqa: E402
from controller.contracts.providers import ProviderContract, TakeoverContract  # noqa: E402
from controller.contracts.rules import BrokenRule  # noqa: E402
from controller.contracts.script import LostReply, Script, ScriptedRefusal  # noqa: E402
from controller.contracts.stores import StoreContract  # noqa: E402
from controller.contracts.unknown import StoreFaults, UnknownOutcomeContract  # noqa: E402
from controller.contracts.watch import WatcherContract  # noqa: E402

__all__ = [
    "BrokenRule",
    "LogicalClock",
    "LostReply",
    "MoverContract",
    "ProviderContract",
    "Script",
    "ScriptedRefusal",
    "StoreContract",
    "StoreFaults",
    "TakeoverContract",
    "UnknownOutcomeContract",
    "WatcherContract",
]
