"""A data set that cannot be downloaded is said so in one line, and soon."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
import requests
from tensorflow_datasets.core.download import DownloadError, downloader

from tfp_vae.data import downloads
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


@pytest.mark.parametrize("reached", [True, False])
def test_where_one_host_does_not_answer_the_next_is_tried(tmp_path, monkeypatch, reached):
    asked, seen = [], []

    def head(url, timeout):
        asked.append(url)
        raise requests.Timeout("no answer") if url == "https://a.org" else requests.HTTPError

    monkeypatch.setattr(requests, "head", head)
    builder = Builder(tmp_path, lambda: seen.append(print("prepared", flush=True)))
    builder.url_infos = {"https://a.org/1.gz": 0, "https://a.org/2.gz": 0, "https://b.org/3.gz": 0}
    if reached:
        monkeypatch.setattr(
            requests, "head", lambda url, timeout: url != "https://a.org" or head(url, 1)
        )
        downloads.prepare(builder)
        assert seen == [None]
    else:
        with pytest.raises(InputError, match="no answer"):
            downloads.prepare(builder)
        assert asked == ["https://a.org", "https://b.org"]


def test_what_tfds_says_is_kept_from_results(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(requests, "head", lambda *args, **kwargs: None)
    downloads.prepare(Builder(tmp_path, lambda: (sys.stdout.write("ready"), sys.stdout.flush())))
    assert capsys.readouterr().out == ""


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
