"""Downloads of TensorFlow's data sets, with a missing network said at once."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Iterator
from typing import Any

import requests
from tensorflow_datasets.core.download import DownloadError, downloader

from tfp_vae.errors import InputError

_A_SERVER = "https://storage.googleapis.com"  # where TFDS keeps most of its data
_SECONDS = 5


def prepare(builder: Any) -> None:
    """Downloads and prepares the data of a TFDS builder, unless they are there.

    Raises:
      InputError: the data cannot be downloaded.
    """
    if builder.data_path.exists():
        return
    try:
        with _as_patient_as_the_network(_servers(builder)):
            builder.download_and_prepare()
    except (requests.RequestException, DownloadError) as error:
        raise _refusal(builder, error) from error


def _servers(builder: Any) -> list[str]:
    """Returns up to three hosts that have the files, as far as TFDS knows them."""
    urls = list(getattr(builder, "url_infos", None) or ()) or [_A_SERVER]
    return list(dict.fromkeys("/".join(url.split("/")[:3]) for url in urls))[:3]


@contextlib.contextmanager
def _as_patient_as_the_network(servers: list[str]) -> Iterator[None]:
    """Keeps TFDS from trying for minutes where no server is to be reached."""
    before, errors = downloader.MAX_RETRIES, []
    for server in servers:
        try:
            requests.head(server, timeout=_SECONDS)
            break
        except requests.RequestException as error:
            errors.append(error)
    else:
        late = [error for error in errors if isinstance(error, requests.Timeout)]
        if late:
            raise late[0]  # each try of TFDS would wait for ever
        downloader.MAX_RETRIES = 0
    try:
        with _bars():
            yield
    finally:
        downloader.MAX_RETRIES = before


@contextlib.contextmanager
def _bars() -> Iterator[None]:
    """Shows progress on a terminal, and nothing elsewhere."""
    import tensorflow_datasets as tfds

    if sys.stderr.isatty():
        yield
        return
    tfds.disable_progress_bar()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        tfds.enable_progress_bar()


def _refusal(builder: Any, error: Exception) -> InputError:
    why = " ".join(str(error).split())
    return InputError(
        f"{builder.name} is not in {builder.data_path.parents[1]} and cannot be downloaded: "
        "expected a network, or TFDS_DATA_DIR to name a folder that holds it "
        "(--data digits needs neither).",
        f"{type(error).__name__}, {why if len(why) < 200 else why[:200] + ' ...'}",
    )
