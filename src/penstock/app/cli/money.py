"""`penstock cost`: what AWS would have billed."""

import json
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table

from penstock.app.cli.look import Json, report_failure
from penstock.app.client import NodeUnreachable, Refused, ask, endpoint_of
from penstock.insight.cost import EXTRAS


def cost(
    *,
    since: str | None = None,
    until: str | None = None,
    account: str | None = None,
    region: str | None = None,
    free_tier: Annotated[bool, Parameter(negative=())] = False,
    endpoint: str | None = None,
    as_json: Json = False,
) -> int:
    """What AWS would have billed for the functions that ran, from metered requests, durations and memory.

    Extras are provisioned concurrency, /tmp above 512 MB, SnapStart restores, streamed answers,
    durable executions and tenants' environments; --as-json has each.

    Parameters
    ----------
    since
        The first day, 2026-01-31; all days unless told otherwise.
    until
        The last day.
    account
        000000000000 unless told otherwise.
    region
        Where the functions are; prices are us-east-1's. us-east-1 unless told otherwise.
    free_tier
        Take off each month's free requests and GB-seconds.
    endpoint
        The node: AWS_ENDPOINT_URL, or http://127.0.0.1:4566.
    as_json
        Print JSON.
    """
    wanted = {"since": since, "until": until, "account": account, "region": region, "free_tier": free_tier}
    try:
        found = ask(endpoint_of(endpoint), "POST", "cost", {key: value for key, value in wanted.items() if value})
    except (NodeUnreachable, Refused) as error:
        return report_failure(error)
    if as_json:
        print(json.dumps(found, indent=2))
        return 0
    table = Table("function", "requests", "errors", "cold", "billed s", "GB-s", "extras USD", "USD")
    for line in found["functions"]:
        table.add_row(
            line["function"],
            f"{line['requests']:,}",
            f"{line['errors']:,}",
            f"{line['cold_starts']:,}",
            f"{line['billed_ms'] / 1000:,.1f}",
            f"{line['gb_s']:,.2f}",
            f"{sum(line[name] for name in EXTRAS):.6f}",
            f"{line['usd']:.6f}",
        )
    console = Console()
    console.print(table)
    console.print(f"${found['usd']:.6f}, at the prices of {found['region']} of {found['prices_of']}", highlight=False)
    return 0
