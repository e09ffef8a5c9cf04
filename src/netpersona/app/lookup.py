"""The store that a command was given."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from netpersona.errors import ConfigError

if TYPE_CHECKING:
    from netpersona.ports import Store

store_option = click.option(
    "--store", envvar="NETPERSONA_STORE", metavar="URL", help="The store: FILE.db, sqlite:///..."
)


def opened(url: str | None) -> Store:
    """The store at this URL.  Raises ConfigError where none was named, StoreError where it cannot be opened."""
    if url is None:
        raise ConfigError(
            "no store was named: give --store FILE.db or set NETPERSONA_STORE;"
            " 'netpersona replay SOURCE --store FILE.db' makes one"
        )
    from netpersona.adapters.stores import open_store

    return open_store(url, create=False)
