import pytest

from netpersona.flow.vm import Vm, canonical_address, owners, vm_id, vm_id_of_address


@pytest.mark.parametrize("text", ["a", "web-1", "A_b-9", "x" * 64])
def test_a_vm_has_a_plain_name(text):
    assert vm_id(text) == text


@pytest.mark.parametrize(
    "text", ["", "x" * 65, "a b", "a.b", "ä", "a\n", "a\nb", 'a"', "a;drop", "a}", "${x}", "../x", "a\x00", "１"]
)
def test_nothing_else_names_one(text):
    with pytest.raises(ValueError, match="cannot name a VM"):
        vm_id(text)


@pytest.mark.parametrize(
    ("address", "name"),
    [("10.0.0.5", "10-0-0-5"), ("2001:db8::1", "2001-db8--1"), ("fd00::", "fd00--"), ("::1", "--1")],
)
def test_a_vm_of_which_only_the_address_is_known_is_named_by_it(address, name):
    assert vm_id_of_address(address) == name


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("2001:DB8:0:0:0:0:0:1", "2001:db8::1"),
        ("2001:db8::0001", "2001:db8::1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("::FFFF:a00:1", "10.0.0.1"),
        ("::", "::"),
    ],
)
def test_an_address_has_one_text(text, canonical):
    assert canonical_address(text) == canonical


@pytest.mark.parametrize(
    "text", ["", "10.0.0", "10.0.0.256", "010.0.0.1", "10.0.0.1/24", "web-1", "1::2::3", " 10.0.0.1"]
)
def test_what_is_no_address_is_refused(text):
    with pytest.raises(ValueError, match="IPv4 or IPv6"):
        canonical_address(text)


def test_a_vm_is_found_by_each_of_its_addresses_without_their_prefixes():
    web = Vm(vm_id("web"), ("10.77.0.11/24", "fd00:0::1/64", "10.0.0.9"))
    assert owners([web]) == {"10.77.0.11": "web", "fd00::1": "web", "10.0.0.9": "web"}


def test_two_vms_cannot_have_one_address():
    with pytest.raises(ValueError, match=r"10\.0\.0\.1 belongs to both a and b"):
        owners([Vm(vm_id("a"), ("10.0.0.1/24",)), Vm(vm_id("b"), ("10.0.0.1/16",))])


def test_one_vm_may_name_an_address_twice():
    assert owners([Vm(vm_id("a"), ("10.0.0.1/24", "10.0.0.1"))]) == {"10.0.0.1": "a"}
