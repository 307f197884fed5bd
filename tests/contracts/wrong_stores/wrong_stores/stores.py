"""A sound store in a folder of this machine, `sound:///folder/name`, and what can be wrong with it."""

import os
import shutil
import time
from pathlib import Path
from urllib.parse import quote

from rv_core import FileInfo, Store
from rv_core.files import local


class SoundStore(Store):
    def __init__(self, scheme):
        self.scheme = scheme

    def path(self, uri):
        path = uri.partition("://")[2]
        if "/refused/" in path:
            raise PermissionError("no rights")
        if "/unreachable/" in path:
            raise ConnectionError("no answer")
        return path

    def stat(self, uri):
        return local.stat(self.path(uri))

    def read(self, uri):
        return local.read(self.path(uri))

    def write(self, uri, data):
        local.write(self.path(uri), data, is_synced=False)

    def write_once(self, uri, data):
        return local.write_once(self.path(uri), data)

    def delete(self, uri):
        local.delete(self.path(uri))

    def list_files(self, uri):
        return local.list_files(self.path(uri))

    def upload(self, path, uri):
        local.copy(path, self.path(uri))

    def copy(self, source, target):
        local.copy(self.path(source), self.path(target))
        return True

    def download(self, uri, path):
        return local.copy(self.path(uri), path)


class TranslatesLinesStore(SoundStore):
    def write(self, uri, data):
        super().write(uri, data.replace(b"\n", b"\r\n"))


class DropsEmptyStore(SoundStore):
    def write(self, uri, data):
        if data:
            super().write(uri, data)


class ReadsFromTheStartStore(SoundStore):
    def read_range(self, uri, start, end):
        return self.read(uri)[: end - start]


class CopiesBlindlyStore(SoundStore):
    def copy(self, source, target):
        self.write(target, self.read(source)[:100])
        return True


class KnowsNoMarkStore(SoundStore):
    def stat(self, uri):
        info = super().stat(uri)
        return info and FileInfo(info.size)


class QuotesNamesStore(SoundStore):
    def list_files(self, uri):
        return {quote(name): info for name, info in super().list_files(uri).items()}


class LeavesTheTailStore(SoundStore):
    def write(self, uri, data):
        old = super().read(uri) if self.stat(uri) else b""
        super().write(uri, data + old[len(data) :])


class WritesInPlaceStore(SoundStore):
    def write(self, uri, data):
        os.makedirs(os.path.dirname(self.path(uri)), exist_ok=True)
        with open(self.path(uri), "wb", buffering=0) as file:
            file.write(data[: len(data) // 2])
            time.sleep(0.002)
            file.write(data[len(data) // 2 :])


class ReplacesOnceStore(SoundStore):
    def write_once(self, uri, data):
        self.write(uri, data)
        return True


class ChecksFirstStore(SoundStore):
    def write_once(self, uri, data):
        if self.stat(uri):
            return False
        time.sleep(0.01)
        self.write(uri, data)
        return True


class ReadsNothingStore(SoundStore):
    def read(self, uri):
        return super().read(uri) if self.stat(uri) else b""


class TakesFoldersForFilesStore(SoundStore):
    def stat(self, uri):
        return super().stat(uri) or (FileInfo(0, 0) if os.path.isdir(self.path(uri)) else None)


class DeletesNoMoreStore(SoundStore):
    def delete(self, uri):
        os.unlink(self.path(uri))


class ListsOneLevelStore(SoundStore):
    def list_files(self, uri):
        return {name: info for name, info in super().list_files(uri).items() if "/" not in name}


class ListsByPrefixStore(SoundStore):
    def list_files(self, uri):
        folder, _, prefix = uri.rstrip("/").rpartition("/")
        found = super().list_files(folder)
        return {
            name[len(prefix) :].lstrip("/"): info for name, info in found.items() if prefix and name.startswith(prefix)
        }


class ListsFromACacheStore(SoundStore):
    def __init__(self, scheme):
        super().__init__(scheme)
        self.listings = {}

    def list_files(self, uri):
        if not self.listings.get(uri):
            self.listings[uri] = super().list_files(uri)
        return self.listings[uri]


class UploadsOnceStore(SoundStore):
    def upload(self, path, uri):
        self.write_once(uri, Path(path).read_bytes())


class DownloadsBlindlyStore(SoundStore):
    def download(self, uri, path):
        shutil.copyfile(self.path(uri), path)
        return FileInfo(-1)


class HidesRefusalsStore(SoundStore):
    def stat(self, uri):
        try:
            return super().stat(uri)
        except PermissionError:
            return None


class HidesSilenceStore(SoundStore):
    def read(self, uri):
        try:
            return super().read(uri)
        except ConnectionError:
            raise FileNotFoundError(uri) from None

    def is_transient(self, error):
        return False
