from __future__ import annotations

from rv_core.task.log import UPLOAD_INTERVAL_S, upload_pause_s


def test_a_log_that_grows_for_a_day_is_put_a_bounded_number_of_times_its_size() -> None:
    day_s, at_s, put = 86_400.0, 0.0, 0.0
    while at_s < day_s:
        put += at_s / day_s  # it grows evenly
        at_s += upload_pause_s(at_s)
    assert put < 25
    assert upload_pause_s(0) == upload_pause_s(1000) == UPLOAD_INTERVAL_S
