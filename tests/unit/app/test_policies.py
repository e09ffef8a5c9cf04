import pytest

from netpersona.app.policies import decode, encode, parsed, read, versioned
from netpersona.errors import PolicyError

POLICY = """
apiVersion: netpersona/v1
kind: Policy
metadata: {name: NAME}
spec: {mode: enforce, order: 1, rules: [{name: r, direction: outbound, action: ACTION}]}
"""


def text(name="p", action="deny"):
    return POLICY.replace("NAME", name).replace("ACTION", action)


def numbers(policies):
    return {policy.name: policy.version for policy in policies.policies}


def test_a_folder_stands_for_its_yaml_files_in_order(tmp_path):
    (tmp_path / "b.yaml").write_text(text("b"))
    (tmp_path / "a.yml").write_text(text("a"))
    (tmp_path / "notes.txt").write_text("not a policy")
    assert [path.rpartition("/")[2] for path in read([tmp_path])] == ["a.yml", "b.yaml"]
    assert numbers(parsed(read([tmp_path]))).keys() == {"a", "b"}


@pytest.mark.parametrize(("content", "said"), [(None, "No such file"), (b"\xff\xfe\x00", "not UTF-8 text at byte 0")])
def test_what_cannot_be_read_is_named(tmp_path, content, said):
    file = tmp_path / "p.yaml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(PolicyError, match=said) as error:
        read([file])
    assert str(file) in str(error.value)


def test_an_empty_folder_is_no_set_of_policies(tmp_path):
    with pytest.raises(PolicyError, match=r"no \*.yaml or \*.yml file"):
        read([tmp_path])


def test_every_problem_of_every_file_is_told():
    with pytest.raises(PolicyError) as error:
        parsed({"one.yaml": text(action="dney"), "two.yaml": text(action="alow")})
    assert "one.yaml" in str(error.value)
    assert "two.yaml" in str(error.value)


def test_a_version_counts_up_when_the_content_changes_and_not_when_it_moves():
    first, versions = versioned(parsed({"a.yaml": text("p") + "---" + text("q")}), {})
    assert numbers(first) == {"p": 1, "q": 1}
    moved, versions = versioned(parsed({"b.yaml": "\n\n" + text("q") + "---" + text("p")}), versions)
    assert numbers(moved) == {"p": 1, "q": 1}
    changed, versions = versioned(parsed({"b.yaml": text("p", "reject") + "---" + text("q")}), versions)
    assert numbers(changed) == {"p": 2, "q": 1}
    back, _ = versioned(parsed({"b.yaml": text("p") + "---" + text("q")}), versions)
    assert numbers(back) == {"p": 3, "q": 1}


def test_texts_and_versions_come_back_from_the_store():
    texts = {"a.yaml": text()}
    versions = versioned(parsed(texts), {})[1]
    assert decode(encode(texts, versions)) == (texts, versions)
    assert decode(None) == ({}, {})
