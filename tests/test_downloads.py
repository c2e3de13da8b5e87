"""A data set that cannot be downloaded is said so in one line, and soon."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import requests
from tensorflow_datasets.core.download import DownloadError, downloader

from tfp_vae import downloads
from tfp_vae.errors import InputError

NOWHERE = "http://127.0.0.1:9/a.tgz"  # where nothing listens


class Builder:
    """A builder of TFDS as far as it is asked."""

    name = "mnist"

    def __init__(self, folder: Path, download) -> None:
        self.data_path = folder / "mnist" / "3.0.1"
        self.download_and_prepare = download


def from_nowhere():
    with downloader._open_with_requests(NOWHERE):
        pass


def fails(error):
    def download():
        raise error

    return download


@pytest.mark.parametrize(
    ("server", "download", "fragment"),
    [
        (NOWHERE, from_nowhere, "ConnectionError"),
        (NOWHERE, fails(DownloadError("HTTP code: 404.")), "HTTP code: 404"),
        (NOWHERE, fails(requests.ConnectionError("x" * 900)), "x ..."),
    ],
)
def test_without_a_network_one_line_comes_soon(tmp_path, monkeypatch, server, download, fragment):
    monkeypatch.setattr(downloads, "_A_SERVER", server)
    start = time.monotonic()
    with pytest.raises(InputError) as caught:
        downloads.prepare(Builder(tmp_path, download))
    assert time.monotonic() - start < 2  # TFDS itself tries ten times, for minutes
    said = str(caught.value)
    assert said.startswith(f"mnist is not in {tmp_path} and cannot be downloaded")
    assert "TFDS_DATA_DIR" in said
    assert fragment in said
    assert len(said) < 600
    assert downloader.MAX_RETRIES > 0  # as it was


def test_a_server_that_does_not_answer_is_not_waited_for(tmp_path, monkeypatch):
    def slow(*args, **kwargs):
        raise requests.Timeout("no answer")

    monkeypatch.setattr(requests, "head", slow)
    with pytest.raises(InputError, match="no answer"):
        downloads.prepare(Builder(tmp_path, fails(AssertionError("not reached"))))


def test_with_a_network_tfds_tries_as_it_likes(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(requests, "head", lambda *args, **kwargs: None)
    downloads.prepare(Builder(tmp_path, lambda: seen.append(downloader.MAX_RETRIES)))
    assert seen == [downloader.MAX_RETRIES]
    assert seen[0] > 1


def test_what_is_there_needs_no_network(tmp_path, monkeypatch):
    monkeypatch.setattr(requests, "head", fails(AssertionError("not reached")))
    (tmp_path / "mnist" / "3.0.1").mkdir(parents=True)
    downloads.prepare(Builder(tmp_path, fails(AssertionError("not reached"))))
