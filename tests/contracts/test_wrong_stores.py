"""The conformance kit finds what is wrong with stores that are wrong on purpose, each by the rule named for it."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from tests.contracts.kit_runs import run_kit

from rv_core.testing import StoreConformance

#: Store -> (the rule that it breaks, what the failure has to say).
WRONG: Mapping[str, tuple[str, str]] = {
    "translates-lines": ("test_a_file_comes_back_as_it_was_written", "\\r\\n"),
    "drops-empty": ("test_an_empty_file_is_a_file", "an empty file counts as none"),
    "knows-no-mark": ("test_a_file_is_known_by_a_mark", "neither an ETag nor a time"),
    "quotes-names": ("test_a_file_may_have_any_name", "with%20space"),
    "leaves-the-tail": ("test_writing_replaces_the_whole_file", "content"),
    "writes-in-place": ("test_who_reads_while_it_is_written_gets_a_whole_file", "a part of a file"),
    "replaces-once": ("test_write_once_changes_nothing_that_is_there", "True is False"),
    "checks-first": ("test_of_several_writers_at_once_one_creates", "were told that they created it"),
    "reads-nothing": ("test_a_missing_file_is_missing", "DID NOT RAISE"),
    "takes-folders-for-files": ("test_a_folder_is_no_file", "is None"),
    "deletes-no-more": ("test_a_deleted_file_is_gone_and_may_be_deleted_again", "cannot delete 'a'"),
    "lists-one-level": ("test_a_listing_names_every_file_below", "b/c"),
    "lists-by-prefix": ("test_a_listing_keeps_to_its_folder", ".txt"),
    "lists-from-a-cache": ("test_a_listing_is_up_to_date", "just written is not listed"),
    "uploads-once": ("test_an_upload_is_the_file", "what was uploaded is not the file"),
    "downloads-blindly": ("test_a_download_is_the_file_and_says_what_it_took", "does not say the size"),
    "reads-from-the-start": ("test_a_part_of_a_file_is_that_part", "bytes 100 to 200 are not those of the file"),
    "copies-blindly": ("test_a_copy_is_the_file_or_is_not_made", "what the store has copied is not the file"),
    "hides-refusals": ("test_a_refusal_is_an_error", "stat answered None though it could not ask"),
    "hides-silence": ("test_a_store_that_cannot_be_asked_is_an_error", "calls a file missing"),
}
_RULES = {name for name in vars(StoreConformance) if name.startswith("test_")}


def class_of(store: str) -> str:
    return "Test" + "".join(map(str.capitalize, store.split("-")))


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Mapping[tuple[str, str], str]:
    """(class, rule) -> why it failed, "" for what passed; of each wrong store its rule, of the sound one every rule."""
    folder = tmp_path_factory.mktemp("stores")
    tests = ["from rv_core.testing import StoreConformance\n"]
    for store in ("sound", *WRONG):
        root = f"{store}://{folder}/{store}"
        tests += [
            f"class {class_of(store)}(StoreConformance):",
            f"    store_uri = {root!r}",
            f"    refused_uri = {f'{root}/refused/a'!r}",
            f"    unreachable_uri = {f'{root}/unreachable/a'!r}\n",
        ]
    ids = ["TestSound", *(f"{class_of(store)}::{rule}" for store, (rule, _) in WRONG.items())]
    return run_kit(folder, "\n".join(tests), ids)


def test_a_sound_store_passes_every_rule(outcomes: Mapping[tuple[str, str], str]) -> None:
    assert {rule: why for (cls, rule), why in outcomes.items() if cls == "TestSound"} == dict.fromkeys(_RULES, "")


@pytest.mark.parametrize("store", WRONG)
def test_a_wrong_store_is_found_by_its_rule(outcomes: Mapping[tuple[str, str], str], store: str) -> None:
    rule, says = WRONG[store]
    why = outcomes[class_of(store), rule]
    assert why, f"{rule} passed"
    assert says in why


def test_every_rule_has_a_store_that_breaks_it() -> None:
    assert {rule for rule, _ in WRONG.values()} == _RULES
