"""Puts the files of the worked examples into the pages that explain them.

`python docs/quotes.py` rewrites both pages; a test holds them against the files. A quote is a line with the file's
name, relative to the example, an empty line, and a fenced block.
"""

from __future__ import annotations

import re
from pathlib import Path

DOCS = Path(__file__).parent
PAGES = {"writing-a-store.md": "sqlite-store", "writing-a-provider.md": "floating-ip"}
_QUOTE = re.compile(r"^`(?P<file>[^`\n]+)`:\n\n```(?P<language>\w*)\n.*?^```$", re.MULTILINE | re.DOTALL)


def quote_files(page: str) -> str:
    """The page's text, with each quoted file as it is now."""
    example = DOCS / "examples" / PAGES[page]

    def quote(found: re.Match[str]) -> str:
        text = (example / found["file"]).read_text()
        return f"`{found['file']}`:\n\n```{found['language']}\n{text}```"

    return _QUOTE.sub(quote, (DOCS / page).read_text())


if __name__ == "__main__":
    for name in PAGES:
        (DOCS / name).write_text(quote_files(name))
