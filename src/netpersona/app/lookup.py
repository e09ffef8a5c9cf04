"""What most commands begin with: the store they were given, and the VM that was meant."""

from __future__ import annotations

from difflib import get_close_matches

import click

from netpersona.adapters.stores import open_store
from netpersona.errors import ConfigError
from netpersona.flow.vm import canonical_address
from netpersona.persona.model import Persona
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
    return open_store(url, create=False)


def the_vm(store: Store, text: str) -> Persona:
    """The persona of the VM with this name or address.  Raises ConfigError with the name probably meant."""
    personas = store.personas()
    by_name = {str(vm): persona for vm, persona in personas.items()}
    if text in by_name:
        return by_name[text]
    by_address = {a.partition("/")[0]: p for p in personas.values() for a in p.base.addresses}
    try:
        found = by_address.get(canonical_address(text))
    except ValueError:
        found = None
    if found is not None:
        return found
    near = get_close_matches(text, [*by_name, *by_address], n=1)
    hint = f"did you mean {near[0]!r}?" if near else "'netpersona persona list' names them all"
    raise ConfigError(f"the store knows no VM {text!r}; {hint}")
