"""Groups of commands: each says in full what its commands do, and names the one that was probably meant."""

import click
import pytest
from click.testing import CliRunner

from netpersona.app.cli import cli


def said(*words):
    return CliRunner().invoke(cli, words, terminal_width=80)


@pytest.mark.parametrize("group", ["feed", "firewall", "lab", "persona", "policy", "risk", "warninglists"])
def test_no_sentence_is_cut(group):
    words = ["feed", group] if group == "warninglists" else [group]
    told = said(*words, "--help")
    assert told.exit_code == 0
    assert "..." not in told.output.split("Commands:")[1]


def test_a_typing_error_names_what_was_meant():
    assert "there is no command 'lsit'. Did you mean 'list'?" in said("feed", "lsit").output
    assert "there is no command 'polcy'. Did you mean 'policy'?" in said("polcy").output
    assert "there is no command 'xyzzy'. See 'netpersona policy --help'." in _shown("policy", "xyzzy")


def _shown(*words):
    with pytest.raises(click.UsageError) as raised:
        cli.main(words, prog_name="netpersona", standalone_mode=False)
    return raised.value.format_message()
