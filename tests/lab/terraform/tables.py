"""The tables of inputs and outputs in the modules' READMEs: ``python -m tests.lab.terraform.tables`` rewrites them.

A README has them between the lines ``<!-- inputs and outputs -->`` and ``<!-- end -->``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from tests.lab.terraform.roots import ROOT

BEGIN, END = "<!-- inputs and outputs -->\n", "<!-- end -->"


def readmes() -> list[Path]:
    """Return the READMEs that have tables."""
    return sorted(file for file in (ROOT / "terraform").rglob("README.md") if BEGIN in file.read_text())


def with_tables(readme: Path) -> str:
    """Return the README with current tables."""
    before, _, rest = readme.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}{_tables(readme.parent)}{END}{after}"


def _tables(module: Path) -> str:
    inputs = [
        f"| `{name}` | `{_short(body['type'])}` | {_default(body)} | {_text(body['description'])} |"
        for name, body in _blocks(module / "variables.tf", "variable")
    ]
    outputs = [
        f"| `{name}` | {_text(body['description'])} |" for name, body in _blocks(module / "outputs.tf", "output")
    ]
    return "\n".join(
        [
            "\n### Inputs\n\n| name | type | default | |\n|---|---|---|---|",
            *inputs,
            "\n### Outputs\n\n| name | |\n|---|---|",
            *outputs,
            "\n",
        ]
    )


def _blocks(file: Path, kind: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield name and attributes of each block. `terraform fmt` ends each block with a brace in column one."""
    for name, body in re.findall(rf'^{kind} "(\w+)" {{\n(.*?)^}}', file.read_text(), re.DOTALL | re.MULTILINE):
        yield name, dict(re.findall(r"^  (\w+) += (.*?)(?=^  \w|\Z|^$)", body, re.DOTALL | re.MULTILINE))


def _short(type_: str) -> str:
    """Return a type on one line, in as few words as possible."""
    return re.sub(r"\s+", " ", re.sub(r"object\(\{.*\}\)", "object", type_, flags=re.DOTALL)).strip()


def _default(body: dict[str, str]) -> str:
    default = re.sub(r"\s+", " ", body.get("default", "required")).strip()
    return "" if default == "null" else default if default == "required" else f"`{default}`"


def _text(quoted: str) -> str:
    return quoted.strip().strip('"').replace('\\"', '"').replace("<", "&lt;").replace("|", "\\|")


def main() -> None:
    for readme in readmes():
        readme.write_text(with_tables(readme))


if __name__ == "__main__":
    main()
