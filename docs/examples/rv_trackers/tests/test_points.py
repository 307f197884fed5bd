"""One point an epoch, whatever is reported and repeated."""

from __future__ import annotations

from rv_trackers.points import Points


def reports(first: int, last: int) -> list[dict[str, float]]:
    """As a training makes them: two in each epoch, of which the first still knows only the validation before."""
    told = []
    for epoch in range(first, last + 1):
        before = {"validated_epoch": epoch - 1, "validation_loss": 1 / (epoch - 1)} if epoch > 1 else {}
        told.append({"epoch": epoch, "num_epochs": 9, **before, "loss": 9.0})
        told.append({"epoch": epoch, "validated_epoch": epoch, "validation_loss": 1 / epoch, "loss": 2.0 / epoch})
    return told


def given(points: Points, told: list[dict[str, float]]) -> list[tuple[str, int, float]]:
    found = [point for numbers in told for point in points.of(numbers)] + list(points.rest())
    return [(name, step, value) for step, numbers in found for name, value in numbers.items()]


EXPECTED = {("loss", epoch, 2 / epoch) for epoch in (1, 2, 3)} | {
    ("validation_loss", epoch, 1 / epoch) for epoch in (1, 2, 3)
}


def test_every_epoch_is_one_point_of_each_curve() -> None:
    found = given(Points({}), reports(1, 3))
    assert len(found) == len(EXPECTED)
    assert set(found) == EXPECTED


def test_what_the_tracker_has_is_not_given_again() -> None:
    found = given(Points({"loss": 1, "validation_loss": 2}), reports(1, 3))
    assert len(found) == len(set(found))
    assert set(found) == {point for point in EXPECTED if point[1] > (1 if point[0] == "loss" else 2)}


def test_a_validation_whose_own_report_was_lost_comes_with_the_next_one() -> None:
    told = [numbers for numbers in reports(1, 3) if numbers.get("validated_epoch") != 2 or numbers["epoch"] != 2]
    assert {point for point in given(Points({}), told) if point[0] == "validation_loss"} == {
        point for point in EXPECTED if point[0] == "validation_loss"
    }
