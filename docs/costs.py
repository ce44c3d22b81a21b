"""Computes what a store costs a month from the rounds of a lease and the prices of requests.

`python docs/costs.py` writes the section "Costs" of docs/stores.md; a test holds the page to it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from controller.core.timing import Timing

HOURS = 730  # of a month, as the clouds' calculators have it
LEASES = (3.0, 6.0, 10.0, 30.0)
NODES = (2, 3)


@dataclass(frozen=True, slots=True)
class Priced:
    """A store's requests in one round of one node, and their prices in US dollars. Storage and traffic are cents.

    `fetch`: a Get for each other node, whose session has changed since the last round.
    """

    store: str
    what: str
    write: float
    read: float
    prices: str
    source: str
    fetch: float = 0.0
    shortest_lease: float = 0.0

    def month(self, lease: float, nodes: int) -> float:
        """Dollars a month for a cluster of so many nodes."""
        rounds = HOURS * 3600 / Timing.derive(lease).retry_period * nodes
        return rounds * (self.write + self.read + self.fetch * (nodes - 1))


PRICES = (
    Priced(
        "`dynamodb`",
        "1 write unit, 1 read unit (strongly consistent, up to 4 KB)",
        0.625e-6,
        0.125e-6,
        "on demand: $0.625 per million write units, $0.125 per million read units",
        'Airbyte: "Amazon DynamoDB Pricing" (21 July 2025), after AWS\'s reduction of November 2024; '
        "AWS's own page could not be read with its numbers",
    ),
    Priced(
        "`s3`",
        "1 PUT, 1 LIST, 1 GET for each other node",
        0.005e-3,
        0.005e-3,
        "Standard: $0.005 per 1,000 PUT or LIST, $0.0004 per 1,000 GET",
        "what AWS's sample code falls back to (aws-samples/sample-cfm-tips-mcp); "
        '"Amazon S3 pricing" could not be read with its numbers',
        fetch=0.0004e-3,
    ),
    Priced(
        "`azure_blob`",
        "1 write, 1 list, 1 read for each other node",
        0.055e-4,
        0.055e-4,
        "hot tier: $0.055 per 10,000 writes or lists, $0.0044 per 10,000 reads",
        'Microsoft: "Estimate the cost of using Azure Blob Storage" (26 July 2024), which calls them samples; '
        "the pricing page could not be read with its numbers",
        fetch=0.0044e-4,
    ),
    Priced(
        "`gcs`",
        "2 class A operations (insert, list)",
        0.005e-3,
        0.005e-3,
        "Standard, one region: $0.005 per 1,000 class A operations",
        'Google: "Cloud Storage pricing examples"',
        shortest_lease=5.8,
    ),
)

_SECTION = """\
## Costs

US dollars a month for a whole idle cluster. A cluster is idle nearly always. In each round, each node sends one write
and one read; on `s3` and `azure_blob` it also fetches the session of each other node. The number of groups does not
matter. The table counts requests only: the records take kilobytes, and traffic within a region costs little or
nothing. `make docs` generates this section from the rounds of the lease and the prices below.

{costs}

With a lease of 3 s, a round begins every {period:.3f} s. A longer lease costs proportionally less. On DynamoDB, a
session's record above 1 KB (about ten groups) takes a write unit for each KB, and a read takes a unit for each 4 KB of
all records. `etcd`, `consul` and `kubernetes` cost what their machines cost. `file` costs nothing.

The prices are those of a region in the US, as of 2026-11-22. Look up the prices of your region.

{prices}
"""


def section() -> str:
    """The section of the page."""
    head = ["lease", *(f"{lease:g} s, {nodes} nodes" for lease in LEASES for nodes in NODES)]
    months = [[p.store, *(_cell(p, lease, nodes) for lease in LEASES for nodes in NODES)] for p in PRICES]
    prices = [[p.store, p.what, p.prices, p.source] for p in PRICES]
    return _SECTION.format(
        costs=_table(head, months),
        period=Timing.derive(3.0).retry_period,
        prices=_table(["store", "a round", "prices", "from"], prices),
    )


def _table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows))


def _cell(priced: Priced, lease: float, nodes: int) -> str:
    return "not allowed" if lease < priced.shortest_lease else f"{priced.month(lease, nodes):.2f}"


def main() -> None:
    """Put the section where the page has it."""
    page = Path(__file__).parent / "stores.md"
    text, times = re.subn(
        r"## Costs\n.*?(?=\n## )", lambda _: section(), page.read_text("utf-8"), count=1, flags=re.DOTALL
    )
    if times != 1:
        raise ValueError(f'{page} has no section "Costs" that another one follows')
    page.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
