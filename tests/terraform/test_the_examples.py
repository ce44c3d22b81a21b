"""Every example is applied, planned again without a change, and destroyed; what it writes for the nodes is right."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import yaml

from controller.cli import main as cli
from tests.lab.terraform.roots import ROOT
from tests.terraform.conftest import EXAMPLES, Applied, Examined

pytestmark = pytest.mark.timeout(600)

ON_AWS = [root for root in EXAMPLES if root.startswith("examples/aws")]
ELSEWHERE = [root for root in EXAMPLES if root not in ON_AWS]


@pytest.mark.parametrize("root", ON_AWS)
def test_it_is_applied(applied: Callable[[str], Applied], root: str) -> None:
    ran = applied(root).apply
    assert ran.code == 0, ran


@pytest.mark.parametrize("root", ON_AWS)
def test_planned_again_nothing_changes(applied: Callable[[str], Applied], root: str) -> None:
    ran = applied(root).again
    assert ran.code == 0, ran
    assert "No changes" in ran.output


@pytest.mark.parametrize("root", ON_AWS)
def test_it_can_be_destroyed(applied: Callable[[str], Applied], root: str) -> None:
    ran = applied(root).destroy
    assert ran.code == 0, ran


def check_configuration(rendered: Mapping[str, str], directory: Path) -> None:
    """`anyvip check-config` on each node's file; in this process, so that a cloud's SDK is loaded once."""
    assert len(rendered) >= 2
    for node, text in rendered.items():
        file = directory / f"{node}.yml"
        file.write_text(text)
        assert cli.main(["check-config", "--no-host-checks", "--config", str(file)]) == 0
        assert yaml.safe_load(text)["node"] == node


@pytest.mark.parametrize("root", ON_AWS)
def test_the_configuration_of_every_node_is_right(applied: Callable[[str], Applied], root: str, tmp_path: Path) -> None:
    check_configuration(applied(root).outputs["config"], tmp_path)


@pytest.mark.parametrize("root", ELSEWHERE)
def test_the_configuration_is_right_on_other_clouds(
    examined: Callable[[str], Examined], root: str, tmp_path: Path
) -> None:
    found = examined(root).outputs()
    assert found, "its tests apply nothing"
    for outputs in found:
        check_configuration(outputs["config"], tmp_path)


@pytest.mark.parametrize("root", EXAMPLES)
def test_the_user_data_is_what_cloud_init_takes(
    applied: Callable[[str], Applied], examined: Callable[[str], Examined], root: str
) -> None:
    found = applied(root).outputs if root in ON_AWS else examined(root).outputs()[0]
    for node, text in found["user_data"].items():
        assert text.startswith("#cloud-config\n")
        assert len(text.encode()) < 16384, "EC2 takes 16 KiB"
        content = yaml.safe_load(text)
        files = {file["path"]: file["content"] for file in content["write_files"]}
        assert files["/etc/anyvip/anyvip.yml"] == found["config"][node]
        assert files["/etc/systemd/system/anyvip.service"] == (ROOT / "packaging" / "anyvip.service").read_text()
        assert content["runcmd"][-1][0] in files
