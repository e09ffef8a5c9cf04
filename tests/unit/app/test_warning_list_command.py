"""`netpersona feed warninglists` as a person uses it."""

from __future__ import annotations

import json

from click.testing import CliRunner

from netpersona.app.cli import cli


def run(*arguments):
    return CliRunner().invoke(cli, ["feed", "warninglists", *map(str, arguments)], catch_exceptions=False)


def test_every_list_says_whence_it_is(tmp_path):
    found = run("list", "--folder", tmp_path, "-o", "json")
    assert found.exit_code == 0
    lists = {each["name"]: each for each in json.loads(found.output)}
    assert lists["top-sites"]["entries"] > 1500
    assert lists["public-suffixes"]["licence"] == "MPL-2.0"
    assert "cdn" in run("list", "--folder", tmp_path).output


def test_it_says_what_a_list_holds_against_a_value(tmp_path):
    found = run("about", "8.8.8[.]8", "evil.example", "hxxps://github[.]com/evil", "--folder", tmp_path)
    assert "github[.]com/evil: it is a host of public code" in found.output
    assert "it is a public DNS resolver (Google)" in found.output
    assert "evil.example: on no warning list" in found.output


def test_what_is_no_value_is_said_in_words(tmp_path):
    from netpersona.errors import ConfigError

    found = CliRunner().invoke(cli, ["feed", "warninglists", "about", "8.8.8", "--folder", str(tmp_path)])
    assert isinstance(found.exception, ConfigError)


def test_a_refresh_from_nowhere_changes_nothing_and_says_so(tmp_path):
    found = CliRunner().invoke(
        cli, ["feed", "warninglists", "refresh", "--from", str(tmp_path), "--folder", str(tmp_path)]
    )
    assert "No such file" in found.output
    assert "no list was renewed" in str(found.exception)
    assert list(tmp_path.iterdir()) == []
