from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rv_core.plan.keys import CommandParts, digest, item_key, job_key, shared_digest
from rv_core.plan.reasons import explain_change

PARTS = CommandParts("chip", 1, {"size_px": 32}, {"/a.tif": "h1"}, {"analyze": "0" * 16})
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(json_values, json_values)
def test_a_digest_depends_on_the_values_and_not_on_the_order_of_names(a: object, b: object) -> None:
    assert len(digest(a)) == 16
    assert digest({"x": a, "y": b}) == digest({"y": b, "x": a})
    assert digest([a]) != digest([a, b])


def test_every_part_enters_the_key() -> None:
    variants = [
        PARTS,
        CommandParts("chop", 1, PARTS.reads, PARTS.inputs, PARTS.requires),
        CommandParts("chip", 2, PARTS.reads, PARTS.inputs, PARTS.requires),
        CommandParts("chip", 1, {"size_px": 33}, PARTS.inputs, PARTS.requires),
        CommandParts("chip", 1, PARTS.reads, {"/a.tif": "h2"}, PARTS.requires),
        CommandParts("chip", 1, PARTS.reads, PARTS.inputs, {"analyze": "1" * 16}),
    ]
    assert len({shared_digest(parts) for parts in variants}) == len(variants)


def test_an_item_key_changes_with_the_item_and_its_own_inputs_alone() -> None:
    shared = shared_digest(PARTS)
    keys = {
        item_key(shared, ["train", "a"], {"/a": "1"}),
        item_key(shared, ["train", "b"], {"/a": "1"}),
        item_key(shared, ["test", "a"], {"/a": "1"}),
        item_key(shared, ["train", "a"], {"/a": "2"}),
    }
    assert len(keys) == 4


def test_a_job_key_covers_its_items_in_order() -> None:
    shared = shared_digest(PARTS)
    assert job_key(shared, None) == shared
    assert job_key(shared, [("a", "1"), ("b", "2")]) != job_key(shared, [("b", "2"), ("a", "1")])


def test_a_change_is_explained_by_input_field_and_requirement() -> None:
    old = {
        "version": 1,
        "reads": {"train": {"num_epochs": 20, "seed": 1}},
        "inputs": {"/d/a.tif": "1"},
        "requires": {"chip": "k1"},
    }
    new = {
        "version": 2,
        "reads": {"train": {"num_epochs": 30, "seed": 1}},
        "inputs": {"/d/a.tif": "2"},
        "requires": {"chip": "k2"},
    }
    assert explain_change(old, new) == [
        "a.tif changed",
        "train.num_epochs 20 → 30",
        "command version 1 → 2",
        "chip changed",
    ]


def test_many_changed_values_are_not_all_listed() -> None:
    old = {"reads": {"f": {str(i): 0 for i in range(9)}}}
    new = {"reads": {"f": {str(i): 1 for i in range(9)}}}
    assert explain_change(old, new)[-1] == "and 6 more in f"


def test_a_missing_input_is_named_as_missing() -> None:
    assert explain_change({"inputs": {"/x.tif": "1"}}, {"inputs": {"/x.tif": "missing"}}) == ["x.tif is missing"]
