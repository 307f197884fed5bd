"""A pipeline for races: three items of two outputs each, and what joins them; tells outside of its root who worked when."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from rv_core import Items, Pipeline, PipelineConfig, command

NAMES = ("a", "b", "c")
OUTPUTS = tuple(f"copy/{name}.{number}.txt" for name in NAMES for number in (1, 2))


@dataclass(kw_only=True)
class RaceConfig(PipelineConfig):
    word: str

    def build(self) -> RacePipeline:
        return RacePipeline(self)


class RacePipeline(Pipeline):
    @command(items=lambda config: list(NAMES), reads=("word",))
    def copy(self, names: Items[str]) -> None:
        for name in names:
            self._write(f"copy/{name}.1.txt", f"{self.config.word} of {name}")
            with self.storage.output_file(f"copy/{name}.2.txt") as path:
                path.write_text(f"{self.config.word} of {name}")
                self._take_time()
            self._tell()

    @command(requires=("copy",), reads=())
    def join(self) -> None:
        self._write("join/all.txt", ".".join(self.storage.read_text(name) for name in OUTPUTS))

    def _write(self, name: str, text: str) -> None:
        self.storage.write_text(name, text)
        self._tell()

    def _take_time(self) -> None:
        """A library takes its time to write a file."""
        time.sleep(float(os.environ["RACE_PACE_S"]))
        until = Path(os.environ["RACE_MEETINGS"] + os.environ.get("RACE_UNTIL", ""))
        end = time.monotonic() + 60
        while os.environ.get("RACE_UNTIL") and not until.exists() and time.monotonic() < end:
            time.sleep(0.005)

    def _tell(self) -> None:
        """What was just written is in place."""
        meetings, word = os.environ["RACE_MEETINGS"], os.environ["RACE_WORD"]
        Path(f"{meetings}works-{word}").touch()
        line = f"{time.monotonic():.6f} {word}\n".encode()
        descriptor = os.open(f"{meetings}trace", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(descriptor, line)
        os.close(descriptor)


def get_config(runner: str, root_uri: str, word: str) -> RaceConfig:
    return RaceConfig(root_uri=root_uri, name="race", word=word)
