"""The documentation is true: its commands run, its links lead somewhere, its examples parse, its generated pages are fresh."""

import importlib.util
import os
import re
import shlex
import shutil
import tomllib
import xml.etree.ElementTree as ET
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from netpersona.adapters.inventories.yaml_file import YamlInventory
from netpersona.app import cli, replay, spool
from netpersona.app.config import read_config
from netpersona.flow import distinct
from netpersona.flow.window import HOUR, MINUTE, WINDOW
from netpersona.policy.cases import parse_cases
from netpersona.policy.parse import problems
from netpersona.risk import judge
from netpersona.risk.finding import Severity
from packet_samples import pcap, session

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
PLACES = {"semver.org", "cel.dev", "www.w3.org"}  # every address on the Web that the documentation may name
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def prose(page):
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def anchor(heading):
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with what the examples name: the demo's files, the documentation's own, a capture."""
    folder = tmp_path_factory.mktemp("docs")
    shutil.copytree(ROOT / "docs" / "examples", folder / "docs" / "examples")
    shutil.copytree(ROOT / "docs" / "examples", folder, dirs_exist_ok=True)
    (folder / "capture.pcap").write_bytes(pcap(session()))
    assert outcome("netpersona demo", folder).exit_code == 0
    shutil.copytree(folder / ".demo" / "logs", folder / "zeek-logs")
    shutil.copy(folder / ".demo" / "policy.yaml", folder / "policy.yaml")
    return folder


def outcome(line, folder, env=None):
    """What a netpersona command prints when it is called in the folder, and its exit code."""
    program, *arguments = shlex.split(line, comments=True)
    assert program in ("netpersona", ".venv/bin/netpersona")
    before = Path.cwd()
    os.chdir(folder)
    try:
        called = click.Command("called", callback=lambda: cli.main(arguments))
        return CliRunner().invoke(called, [], env={"COLUMNS": "100", "NETPERSONA_STORE": None, **(env or {})})
    finally:
        os.chdir(before)


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "sh")], ids=lambda page: page.name)
def test_every_command_runs(page, place):
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    env = {}
    for line in "".join(blocks(page, "sh")).splitlines():
        word, _, rest = line.partition(" ")
        if word == "make":
            assert rest in targets, line
        elif word == "export":
            name, _, value = rest.partition("=")
            env[name] = value if name != "PATH" else os.environ["PATH"]
        elif word == "unset":
            del env[rest.split()[0]]
        elif word != "git":
            done = outcome(line, place, env)
            assert done.exit_code == 0, f"{line}\n{done.output}"


@each_page
def test_what_a_page_shows_a_command_to_print_looks_like_that(page, place):
    for block in blocks(page, "text"):
        command, _, shown = block.partition("\n")
        if command.startswith("$ netpersona "):
            printed = outcome(command[2:], place, {"NETPERSONA_STORE": ".demo/netpersona.db"}).output
            missing = [line for line in shape(shown) if line not in shape(printed)]
            assert not missing, f"{command}\n{printed}"


def shape(text):
    """How each line that begins at the margin or with a label begins: two words, numbers as 0, no severity."""
    lines = [line for line in text.splitlines() if line.strip() not in ("", "...") and not line.startswith(" " * 4)]
    words = [[word for word in re.sub(r"[\d,.]+", "0", line).split() if word not in list(Severity)] for line in lines]
    return [" ".join(found[:2]) for found in words]


@each_page
def test_every_command_that_is_named_exists(page):
    for said in re.findall(r"`netpersona ([^`]+)`", prose(page)):
        group = cli.cli
        for word in said.split():
            if not isinstance(group, click.Group) or word.startswith("-") or not word.islower():
                break
            group = group.get_command(click.Context(group), word)
            assert group is not None, f"{page.name}: netpersona {said}"


@each_page
def test_every_link_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if "://" in target:
            continue
        path, _, part = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{page.name}: {target}"
        assert file.is_relative_to(ROOT), f"{page.name}: {target}"
        if part:
            assert part in {anchor(h) for h in re.findall(r"^#+ (.+)$", file.read_text(), flags=re.MULTILINE)}, target


@each_page
def test_a_page_names_no_machine_and_no_address_that_is_not_meant(page):
    text = page.read_text()
    assert not re.search(r"(?<![\w.])/(?:home|root|opt|tmp|work|mnt)/", text)
    assert {place for place in re.findall(r"https?://([\w.-]+)", text) if not place.endswith(".example")} <= PLACES


@pytest.mark.parametrize("page", [ROOT / f"{n}.md" for n in ("ARCHITECTURE", "CONTRIBUTING", "SECURITY")], ids=str)
def test_every_file_that_is_named_exists(page):
    for said in re.findall(r"`([\w/.-]+/[\w.-]+)`", prose(page)):
        assert any((base / said).exists() for base in (ROOT, ROOT / "src" / "netpersona")) or "NAME" in said, said


def test_the_order_of_packages_is_the_one_that_is_enforced():
    said = re.search(r"^    (flow -> .+)$", (ROOT / "ARCHITECTURE.md").read_text(), flags=re.MULTILINE)[1].split(" -> ")
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(c["layers"] for c in contracts if c["type"] == "layers")
    assert said == [name.removeprefix("netpersona.") for name in reversed(layers) if name != "netpersona.errors"]


def test_the_numbers_of_the_architecture_are_those_of_the_code():
    text = " ".join((ROOT / "ARCHITECTURE.md").read_text().split())
    assert f"up to {spool.IN_MEMORY:,} rows" in text
    assert f"agree within {distinct.TOLERANCE // 1_000} ms" in text
    assert f"weight of {judge.SERIOUS} or more" in text
    assert (WINDOW, replay.LATENESS) == (5 * MINUTE, HOUR)


@each_page
def test_every_policy_on_a_page_is_one(page):
    for block in blocks(page, "yaml"):
        assert "apiVersion: netpersona/v1" in block
        assert problems(block, page.name) == []


def test_the_policy_of_the_readme_is_the_example():
    example = (ROOT / "docs" / "examples" / "block-outbound-low-reputation.yaml").read_text()
    (block,) = blocks(ROOT / "README.md", "yaml")
    assert block in example


def test_the_example_files_are_read():
    folder = ROOT / "docs" / "examples"
    assert [vm.name for vm in YamlInventory(folder / "vms.yaml").vms()] == ["db-1", "web-1"]
    config = read_config(folder / "netpersona.yaml")
    assert all(path.exists() for path in (config.inventory, *config.policies, *(feed.file for feed in config.feeds)))
    assert parse_cases((folder / "three-outcomes.yaml").read_text(), "three-outcomes.yaml")


def test_generated_pages_are_fresh():
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    stale = [name for name, text in generate.pages().items() if (ROOT / "docs" / name).read_text() != text]
    assert not stale, f"run .venv/bin/python docs/generate.py: {stale}"


def test_pictures_are_sound_and_say_what_they_show():
    for picture in (ROOT / "docs").glob("*.svg"):
        tree = ET.parse(picture)
        tags = {element.tag.rpartition("}")[2] for element in tree.iter()}
        assert {"title", "desc"} <= tags
        assert not tags & {"script", "image", "foreignObject"}


def test_the_licence_is_whole():
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text
