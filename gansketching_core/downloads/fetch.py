"""Downloading one file: resumable, checked, from allowed addresses only."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import shutil
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

CHUNK = 256 * 1024
LARGEST = 8 * 2**30  # bytes of a download
SPARE = 2**30  # bytes to leave free on the disk
Report = Callable[[int, int], None]


@dataclass(frozen=True)
class Rules:
    """How patient to be. secure: take only https addresses, also when redirected."""

    timeout: float = 30.0
    tries: int = 6
    pause: float = 2.0  # seconds before the second try; doubles
    secure: bool = True


class _Redirects(urllib.request.HTTPRedirectHandler):
    def __init__(self, secure: bool):
        self.secure = secure

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        _check_address(newurl, self.secure)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _check_address(address: str, secure: bool) -> None:
    scheme = urllib.parse.urlsplit(address).scheme
    if scheme not in (("https",) if secure else ("https", "http")):
        raise ValueError(f"{address} is not a safe address (https); nothing was downloaded from there")


def size_of(address: str, rules: Rules = Rules()) -> int:
    """Bytes that the server announces for an address; 0 when it doesn't say."""
    _check_address(address, rules.secure)
    opener = urllib.request.build_opener(_Redirects(rules.secure))
    try:
        with opener.open(urllib.request.Request(address, method="HEAD"), timeout=rules.timeout) as response:
            return int(response.headers.get("Content-Length") or 0)
    except (OSError, ValueError, http.client.HTTPException):
        return 0


def fetch(
    address: str,
    target: Path,
    *,
    rules: Rules = Rules(),
    on_bytes: Report | None = None,
    poll: Callable[[], None] = lambda: None,
) -> str:
    """Download `address` to `target` -> its SHA-256 in hexadecimal.

    What has arrived is kept in `target`.part: after an interruption, also by `poll` raising, the next call goes on
    there, unless the file on the server is another one by then. A whole file from an earlier call is asked about, not
    sent again. on_bytes: called with (bytes so far, bytes in all or
    0). Raises ValueError for what can't be downloaded, ConnectionError when the connection fails again and again.
    """
    _check_address(address, rules.secure)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    if target.exists():
        target.replace(part)
    opener = urllib.request.build_opener(_Redirects(rules.secure))
    for attempt in range(rules.tries):
        poll()
        before = part.stat().st_size if part.exists() else 0
        try:
            _receive(opener, address, part, rules, on_bytes, poll)
            break
        except urllib.error.HTTPError as error:
            if _is_whole(error, before):
                break
            _explain(error, address, part)
        except (OSError, http.client.HTTPException) as error:  # also timeouts and broken connections
            if attempt == rules.tries - 1:
                arrived = part.stat().st_size if part.exists() else 0
                raise ConnectionError(
                    f"the download of {address} broke off {rules.tries} times ({error or type(error).__name__}); "
                    f"{arrived / 1e6:.1f} MB are kept: try again later to go on"
                ) from error
        grew = part.exists() and part.stat().st_size > before
        _wait(0 if grew else rules.pause * 2**attempt, poll)
    digest = hashlib.sha256()
    with part.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
            poll()
    part.replace(target)
    return digest.hexdigest()


def discard(target: Path) -> None:
    """Remove a downloaded file and what is remembered for going on with it."""
    part = target.with_name(target.name + ".part")
    for path in (target, part, _note(part)):
        path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # other downloads are there
        target.parent.rmdir()


def _is_whole(error: urllib.error.HTTPError, arrived: int) -> bool:
    """Does the server refuse to go on because all of the file has arrived?"""
    return error.code == 416 and arrived > 0 and error.headers.get("Content-Range") == f"bytes */{arrived}"


def _explain(error: urllib.error.HTTPError, address: str, part: Path) -> None:
    """Raise for what another try won't help; 416 means that the part is not of this file any more."""
    if error.code == 416:
        part.unlink(missing_ok=True)
    elif error.code not in (408, 425, 429, 500, 502, 503, 504):
        raise ValueError(f"{address} can't be downloaded: the server answers {error.code} {error.reason}") from error


def _wait(seconds: float, poll: Callable[[], None]) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        poll()
        time.sleep(min(0.1, seconds))


def _note(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _remembered(part: Path) -> dict[str, str]:
    """Address and version of a part; empty where that is not known, also after a crash while it was written."""
    try:
        note = json.loads(_note(part).read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return note if isinstance(note, dict) else {}


def _version(headers) -> str:
    """What names this very file to the server; a weak tag may not be used for going on."""
    tag = headers.get("ETag") or ""
    return tag if tag and not tag.startswith("W/") else headers.get("Last-Modified") or ""


def _receive(opener, address: str, part: Path, rules: Rules, on_bytes: Report | None, poll) -> None:
    """One try: the rest of the file, or all of it when the server has another one now. OSError to try again."""
    start, note = (part.stat().st_size if part.exists() else 0), _remembered(part)
    request = urllib.request.Request(address, headers={"User-Agent": "gansketching"})
    if start and note.get("address") == address and note.get("version"):
        request.add_header("Range", f"bytes={start}-")
        request.add_header("If-Range", note["version"])
    else:
        start = 0
    with opener.open(request, timeout=rules.timeout) as response:
        if response.headers.get_content_type() == "text/html":
            raise ValueError(f"{address} answers with a web page, not a model; it may have moved, or have a limit")
        if response.status != 206:
            start = 0
        elif not (response.headers.get("Content-Range") or "").startswith(f"bytes {start}-"):
            part.unlink()
            raise ConnectionError("the server sent another part than the one asked for")
        length = response.headers.get("Content-Length")
        total = start + int(length) if length else 0
        check_size(total, part)
        _note(part).write_text(json.dumps({"address": address, "version": _version(response.headers)}))
        done = start
        with part.open("r+b" if start else "wb") as file:
            file.seek(start)
            file.truncate()
            while chunk := response.read1(CHUNK):
                done += len(chunk)
                if done > (total or LARGEST):
                    raise ValueError(f"{address} sends more than {total or LARGEST:,} bytes; stopped")
                file.write(chunk)
                poll()
                if on_bytes:
                    on_bytes(done, total)
    if total and done < total:
        raise ConnectionError(f"{done:,} of {total:,} bytes arrived")


def check_size(total: int, part: Path) -> None:
    if total > LARGEST:
        raise ValueError(f"the file is {total / 1e9:.1f} GB, more than a model can be; stopped")
    free = shutil.disk_usage(part.parent).free
    if free < 2 * total + SPARE:
        raise ValueError(f"the disk has {free / 1e9:.1f} GB free, {(2 * total + SPARE) / 1e9:.1f} GB are needed")
