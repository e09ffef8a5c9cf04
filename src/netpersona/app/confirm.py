"""Asking before what cannot be taken back."""

from __future__ import annotations

import click

from netpersona.errors import NetpersonaError, StoppedError


def confirm(question: str) -> None:
    """Go on only where the operator says yes.  Raises NetpersonaError for a no, and where nobody is there to answer."""
    try:
        said_yes = click.confirm(question, err=True)
    except click.Abort as error:
        click.echo(err=True)
        if isinstance(error.__context__, KeyboardInterrupt):
            raise StoppedError("interrupted; nothing was changed") from None
        said_yes = False  # the input ended
    if not said_yes:
        raise NetpersonaError("not confirmed, so nothing was changed; --yes does not ask")
