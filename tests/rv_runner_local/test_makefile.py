"""From a plan to a Makefile, and from make's messages to failed tasks; real make and real shells read what is written."""

from __future__ import annotations

import os
import re
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from rv_core.errors import RunnerError
from rv_core.plan.graph import Job, Plan, Resources, Task
from rv_runner_local.makefile import (
    MAKE_VARIABLES,
    Failure,
    find_failures,
    has_line_break,
    recipe,
    render_makefile,
    target_name,
    without_make_variables,
)

NASTY_WORDS = [
    "",
    " ",
    "a b",
    "$HOME",
    "$$",
    "$(shell echo pwned)",
    "${PATH}",
    "`id`",
    "'",
    '"',
    'it\'s "quoted"',
    ";echo pwned",
    "&& false",
    "| cat",
    "#comment",
    "a#b",
    "%",
    "100%.o",
    "*",
    "?[a-z]",
    "~",
    "~root",
    "\\",
    "ends with \\",
    "\\\\n",
    "a\tb",
    "\r",
    "-n",
    "--",
    "=",
    "A=b",
    ":",
    "a:b",
    "<>",
    "(x)",
    "{a,b}",
    "!",
    "@x",
    "+x",
    "é",
    "日本",
    "\x7f\x01",
    os.fsdecode(b"caf\xe9"),
]


def make_job(name: str, num_tasks: int = 1, requires: tuple[str, ...] = (), attempts: int = 1) -> Job:
    ids = [name] if num_tasks == 1 else [f"{name}.{i + 1}-of-{num_tasks}" for i in range(num_tasks)]
    tasks = tuple(Task(task_id, name, index, num_tasks) for index, task_id in enumerate(ids))
    pipeline, command = name.rsplit(".", 1)
    return Job(name, pipeline, command, tasks, requires, Resources(attempts=attempts))


def render(*jobs: Job, argv: tuple[str, ...] = ("true",)) -> str:
    return render_makefile(
        Plan(jobs), run_id="r1", path="/runs/a b/Makefile", argv=lambda task: [*argv, task.id], environ=lambda task: {}
    )


def make(tmp_path: Path, text: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    makefile = tmp_path / "Makefile"
    makefile.write_bytes(text.encode("utf-8", "surrogateescape"))
    environ = without_make_variables(os.environ)
    return subprocess.run(
        ["make", "-f", str(makefile), *arguments], env=environ, capture_output=True, text=True, check=False
    )


def test_targets_are_named_after_jobs_and_tasks() -> None:
    text = render(make_job("p1.chip", 2), make_job("p1.train", requires=("p1.chip",)))

    assert "\np1.chip: p1.chip.1-of-2 p1.chip.2-of-2\n" in text
    assert "\np1.chip.1-of-2:\n\t@exec true p1.chip.1-of-2\n" in text
    assert "\np1.train: p1.chip\n\t@exec true p1.train\n" in text
    assert "\nall: p1.chip p1.train\n" in text


def test_every_target_is_phony_and_none_is_a_path() -> None:
    text = render(make_job("p1.chip", 3), make_job("p2.chip", 3), make_job("p2.train", requires=("p2.chip",)))

    targets = re.findall(r"^([^#\s.:=][^:=\s]*):(?!=)", text, re.MULTILINE)
    phony = " ".join(re.findall(r"^\.PHONY: (.*)$", text, re.MULTILINE)).split()
    assert sorted(targets) == sorted(phony)
    assert len(targets) == 1 + 2 + 6 + 1
    assert not any("/" in target for target in targets)


def test_a_file_named_like_a_target_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "p1.train").touch()
    done = make(tmp_path, render(make_job("p1.train"), argv=("echo",)), "-C", str(tmp_path))
    assert "p1.train\n" in done.stdout


def test_pipelines_are_independent_of_each_other() -> None:
    text = render(
        make_job("p1.chip"), make_job("p1.train", requires=("p1.chip",)), make_job("p2.chip"), make_job("p2.train")
    )
    edges = re.findall(r"^(p1[^:]*|p2[^:]*): (.+)$", text, re.MULTILINE)
    assert edges == [("p1.train", "p1.chip")]


def test_no_task_takes_the_number_of_an_attempt_from_the_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RV_ATTEMPT", "7")
    show = ("sh", "-c", "echo attempt=$RV_ATTEMPT")
    once, again = make_job("p1.chip"), make_job("p1.train", attempts=2)

    done = make(tmp_path, render(once, again, argv=show), "all")

    assert done.stdout.split() == ["attempt=", "attempt=1"]


def test_the_header_says_what_it_is_and_how_to_run_it() -> None:
    header = render(make_job("p1.chip")).split("SHELL :=")[0]
    assert "run r1" in header
    assert "make -j2 -f '/runs/a b/Makefile' all" in header


def test_nothing_newer_than_make_3_81_is_used() -> None:
    text = render(make_job("p1.chip", 2, attempts=3))
    newer = [".ONESHELL", ".RECIPEPREFIX", "--output-sync", "--trace", "$(file", "!=", "::=", "&:", ".SHELLFLAGS"]
    assert [word for word in newer if word in text] == []


def test_make_parses_it_and_runs_nothing_when_asked_to_run_nothing(tmp_path: Path) -> None:
    text = render(make_job("p1.chip", 2), argv=("touch", str(tmp_path / "ran")))
    done = make(tmp_path, text, "-n")
    assert done.returncode == 0
    assert done.stdout.count("exec touch") == 2
    assert not (tmp_path / "ran").exists()


def test_the_first_target_is_everything(tmp_path: Path) -> None:
    done = make(tmp_path, render(make_job("p1.chip", 2), make_job("p2.chip"), argv=("echo",)))
    assert sorted(done.stdout.split()) == ["p1.chip.1-of-2", "p1.chip.2-of-2", "p2.chip"]


def test_a_task_is_not_told_of_the_make_that_runs_it(tmp_path: Path) -> None:
    done = make(tmp_path, render(make_job("p1.chip"), argv=("env",)).replace("env p1.chip", "env"), "-j2")
    names = {line.partition("=")[0] for line in done.stdout.splitlines()}
    assert names & set(MAKE_VARIABLES) <= {"MAKELEVEL"}


def run_words(folder: Path, words: list[str]) -> list[bytes]:
    """What a task sees of these words, once as arguments and once as a variable each."""
    out = folder / "out"
    script = 'for w in "$@"; do printf "%s\\0" "$w"; done > "$OUT"; i=0; ' + "".join(
        f'printf "%s\\0" "$W{index}" >> "$OUT"; ' for index in range(len(words))
    )
    environ = {"OUT": str(out), **{f"W{index}": word for index, word in enumerate(words)}}
    text = render_makefile(
        Plan((make_job("p.c"),)),
        run_id="r",
        path="Makefile",
        argv=lambda task: ["sh", "-c", script, "sh", *words],
        environ=lambda task: environ,
    )
    done = make(folder, text)
    assert done.returncode == 0, done.stderr
    return out.read_bytes().split(b"\0")[:-1]


WORD = st.one_of(
    st.sampled_from(NASTY_WORDS),
    st.text(st.characters(exclude_characters="\n\0", exclude_categories=("Cs",)), max_size=12),
    st.text("$'\"\\#%; `*()&|<>~!\t\r=:@+-", max_size=8),
    st.binary(max_size=6).filter(lambda b: b"\0" not in b and b"\n" not in b).map(os.fsdecode),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=st.lists(WORD, max_size=60))
@example(words=NASTY_WORDS)
def test_every_word_arrives_unchanged_through_make_and_shell(tmp_path: Path, words: list[str]) -> None:
    expected = [os.fsencode(word) for word in words]
    assert run_words(tmp_path, words) == expected * 2


@pytest.mark.parametrize(
    ("argv", "environ"), [(["a\nb"], {}), (["a"], {"X": "a\nb"})], ids=["in an argument", "in a variable"]
)
def test_a_line_break_is_refused(argv: list[str], environ: dict[str, str]) -> None:
    assert has_line_break([*argv, *environ.values()])
    with pytest.raises(RunnerError, match="line break"):
        recipe(argv, environ)


def test_a_variable_without_a_proper_name_is_refused() -> None:
    with pytest.raises(RunnerError, match="'a; id' is no name"):
        recipe(["true"], {"a; id": "x"})


def test_a_single_attempt_replaces_its_shell() -> None:
    assert recipe(["rv", "a b"], {"RV_RUN_ID": "r"}) == "export RV_RUN_ID=r; exec rv 'a b'"


@pytest.mark.parametrize(
    ("script", "attempts", "expected_attempts", "exit_code"),
    [
        ("exit 0", 3, "1", 0),
        ("exit 75", 3, "1 2 3", 75),
        ('[ "$RV_ATTEMPT" -eq 2 ] || exit 75', 3, "1 2", 0),
        ("kill -KILL $$", 2, "1 2", 137),
        ("exit 1", 3, "1", 1),
        ("exit 128", 3, "1", 128),
        ("exit 75", 1, "", 75),
    ],
)
def test_only_what_was_stopped_or_killed_is_started_again(
    script: str, attempts: int, expected_attempts: str, exit_code: int, tmp_path: Path
) -> None:
    seen = tmp_path / "seen"
    line = recipe(["sh", "-c", f"echo $RV_ATTEMPT >> '{seen}'; {script}"], {"A": "b"}, attempts=attempts)

    done = make(tmp_path, f"all:\n\t@{line}\n")

    assert seen.read_text().split() == expected_attempts.split()
    failures = find_failures(done.stderr)
    assert [failure.exit_code for failure in failures] == ([exit_code] if exit_code else [])


@given(name=st.text(max_size=30))
@example(name=".PHONY")
@example(name="a b%c/d")
def test_any_id_becomes_a_safe_target(name: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]*", target_name(name))


@given(names=st.lists(st.text(max_size=10), max_size=20, unique=True))
def test_different_ids_stay_different_targets(names: list[str]) -> None:
    assert len({target_name(name) for name in names}) == len(names)


def test_plain_ids_stay_as_they_are() -> None:
    assert target_name("pipe1.chip.3-of-5") == "pipe1.chip.3-of-5"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("make: *** [/runs/x/Makefile:12: p1.chip.3-of-5] Error 1", Failure("p1.chip.3-of-5", 1)),
        ("make: *** [p1.chip] Error 75", Failure("p1.chip", 75)),  # 3.81
        ("gmake[1]: *** [Makefile:9: p1.chip] Error 2", Failure("p1.chip", 2)),
        ("make: *** [/a [b]: c/Makefile:12: p1.chip] Fehler 3", Failure("p1.chip", 3)),
        ("make: *** [M:1: p1.chip] Terminated", Failure("p1.chip", 143, "ended by SIGTERM")),
        (
            "make: *** [M:1: p1.chip] Killed",
            Failure("p1.chip", 137, "ended by SIGKILL; the system does that when memory runs out"),
        ),
        (
            "make: *** [M:1: p1.chip] Segmentation fault (core dumped)",
            Failure("p1.chip", 139, "ended by SIGSEGV"),
        ),
        ("make: *** [M:1: p1.chip] Abgewürgt", Failure("p1.chip", None, "Abgewürgt")),
    ],
)
def test_failures_are_read_from_what_make_says(line: str, expected: Failure) -> None:
    noise = "make: *** Waiting for unfinished jobs....\nmake: Target 'all' not remade because of errors.\n"
    assert find_failures(f"{noise}{line}\n{noise}some output\n") == [expected]


def test_what_a_task_said_before_its_log_was_open_is_the_reason() -> None:
    messages = (
        "Traceback …\nno library\nmake: *** [M:1: p.a] Error 4\nmake: *** Waiting for unfinished jobs....\n"
        "make: *** [M:2: p.b] Error 1\nkilled here\nmake: *** [M:3: p.c] Killed\n"
    )
    assert [(f.target, f.reason.partition(";")[0]) for f in find_failures(messages)] == [
        ("p.a", "no library"),
        ("p.b", ""),
        ("p.c", "ended by SIGKILL"),
    ]


def test_errors_of_make_itself_are_no_failures_of_tasks() -> None:
    said = "Makefile:3: *** missing separator.  Stop.\nmake: *** No rule to make target 'x'.  Stop.\n"
    assert find_failures(said) == []


def test_thirty_thousand_tasks_are_written_in_under_three_seconds(tmp_path: Path) -> None:
    jobs, before = [], ()
    for name in ("big.chip", "big.predict", "big.eval"):
        jobs.append(make_job(name, 10_000, requires=before))
        before = (name,)
    uri = "/some/where/with a long name/.rv/runs/20260101-120000-abcdef/pipeline-config.json"
    started = time.process_time()

    text = render_makefile(
        Plan(tuple(jobs)),
        run_id="r1",
        path=str(tmp_path / "Makefile"),
        argv=lambda t: [
            "/opt/venv/bin/python", "-m", "rv_core", "run-command", uri, "chip", "--runner", "local",
            "--split-index", str(t.split_index), "--num-splits", str(t.num_splits),
        ],
        environ=lambda t: {"RV_RUN_ID": "20260101-120000-abcdef", "RV_RUN_DIR": "/some/where", "RV_NUM_THREADS": "1"},
    )  # fmt: skip
    (tmp_path / "Makefile").write_text(text)

    assert time.process_time() - started < 3.0
    assert text.count("\t@") == 30_000
    assert make(tmp_path, text, "-n", "big.chip.10000-of-10000").stdout.count("\n") == 1
