"""Makes an unexpected skip a failure in CI. Otherwise a machine on which no test can run would pass.

The regular expressions in ``.ci/expected-skips`` match the expected reasons.
"""

from __future__ import annotations

import os
import re
from collections.abc import Generator
from pathlib import Path

import pytest

EXPECTED = Path(__file__).parents[1] / ".ci" / "expected-skips"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _refuse(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _refuse(report)
    return report


def _refuse(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turns an unexpected skip into a failure. An expected failure (xfail) is not a skip."""
    if os.environ.get("CI", "") in ("", "0", "false") or not report.skipped or hasattr(report, "wasxfail"):
        return
    reason = str(report.longrepr[2]) if isinstance(report.longrepr, tuple) else str(report.longrepr)
    if not any(re.search(pattern, reason) for pattern in _patterns()):
        report.outcome = "failed"
        report.longrepr = f"{reason}\nThis skip is not among those that {EXPECTED.name} expects in CI."


def _patterns() -> list[str]:
    lines = (line.strip() for line in EXPECTED.read_text().splitlines())
    return [line for line in lines if line and not line.startswith("#")]
