"""Downloading one file: resumable, checked, from safe addresses only."""

import contextlib
import hashlib
import http.client
import shutil
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path

SCHEMES = ("https",)  # of safe addresses, also after a redirect
CHUNK = 256 * 1024  # bytes
LARGEST = 8 * 2**30  # most bytes of a download
SPARE = 2**30  # bytes to leave free on the disk
TIMEOUT = 30.0  # seconds without an answer
TRIES = 6
PAUSE = 2.0  # seconds before the second try; doubles with each further one
RETRIABLE = (408, 425, 429, 500, 502, 503, 504)  # HTTP status codes after which another try may succeed
Report = Callable[[int, int], None]  # is given the number of bytes so far and in all (0 if the server doesn't say)
Poll = Callable[[], None]  # called often; what it raises ends the download


class _Redirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, req, fp, code, msg, headers, newurl):
        _check_address(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


_opener = urllib.request.build_opener(_Redirects)


def _check_address(address: str) -> None:
    if urllib.parse.urlsplit(address).scheme not in SCHEMES:
        raise ValueError(f"{address} is not a safe address (https); nothing was downloaded from it")


def size_of(address: str, timeout: float = TIMEOUT) -> int:
    """The size in bytes that the server announces for an address; 0 if it announces none."""
    _check_address(address)
    try:
        with _opener.open(urllib.request.Request(address, method="HEAD"), timeout=timeout) as response:
            return int(response.headers.get("Content-Length") or 0)
    except (OSError, ValueError, http.client.HTTPException):
        return 0


def fetch(address: str, target: Path, *, on_bytes: Report | None = None, poll: Poll = lambda: None) -> str:
    """Download `address` to `target` and return its SHA-256 (hex).

    What has arrived is kept in `target`.part. After an interruption, by `poll` raising or otherwise, the next call
    resumes it, unless the file on the server has changed. If `target` is complete from an earlier call, the server is
    only asked whether it has changed. ValueError for what can't be downloaded, ConnectionError if each try fails.
    """
    _check_address(address)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    if target.exists():
        target.replace(part)
    for attempt in range(TRIES):
        poll()
        before = _size(part)
        try:
            _receive(address, part, on_bytes, poll)
            break
        except urllib.error.HTTPError as error:
            failure = error
            if error.code == 416:  # "range not satisfiable": `part` is either complete or of another file
                if before and error.headers.get("Content-Range") == f"bytes */{before}":
                    break
                part.unlink(missing_ok=True)
            elif error.code not in RETRIABLE:
                answer = f"{error.code} {error.reason}"
                raise ValueError(f"{address} can't be downloaded: the server answers {answer}") from error
        except (OSError, http.client.HTTPException) as error:  # also timeouts and broken connections
            failure = error
        if attempt == TRIES - 1:
            raise ConnectionError(
                f"the download of {address} broke off {TRIES} times ({failure or type(failure).__name__}); "
                f"{_size(part) / 1e6:.1f} MB are kept: try again later to resume it"
            ) from failure
        if _size(part) <= before:
            _wait(PAUSE * 2**attempt, poll)
    digest = hashlib.sha256()
    with part.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
            poll()
    part.replace(target)
    return digest.hexdigest()


def discard(target: Path) -> None:
    """Remove a downloaded file, its unfinished part, and their folder if it is empty then."""
    part = target.with_name(target.name + ".part")
    for path in (target, part, _note(part)):
        path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # the folder holds other downloads
        target.parent.rmdir()


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _wait(seconds: float, poll: Poll) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        poll()
        time.sleep(min(0.1, seconds))


def _note(part: Path) -> Path:
    """The text file that says of which address and which version a part is, in two lines."""
    return part.with_name(part.name + ".txt")


def _version(headers) -> str:
    """What identifies the file's bytes to the server; a weak tag may not be used to resume a download."""
    tag = headers.get("ETag") or ""
    return tag if tag and not tag.startswith("W/") else headers.get("Last-Modified") or ""


def _receive(address: str, part: Path, on_bytes: Report | None, poll: Poll) -> None:
    """Append the rest of the file to `part`, or write all of it if it has changed on the server."""
    start = _size(part)
    note = _note(part).read_text("latin-1") if _note(part).exists() else ""
    noted_address, _, version = note.partition("\n")
    request = urllib.request.Request(address, headers={"User-Agent": "gansketching"})
    if start and noted_address == address and version:
        request.add_header("Range", f"bytes={start}-")
        request.add_header("If-Range", version)
    else:
        start = 0
    with _opener.open(request, timeout=TIMEOUT) as response:
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
        _note(part).write_text(f"{address}\n{_version(response.headers)}", "latin-1")
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
    """Raise ValueError if `total` bytes are too many for a model, or for the disk that `part` is on."""
    if total > LARGEST:
        raise ValueError(f"the file is {total / 1e9:.1f} GB, more than a model can be; stopped")
    free = shutil.disk_usage(part.parent).free
    needed = 2 * total + SPARE  # the download and what is made from it
    if free < needed:
        raise ValueError(f"the disk has {free / 1e9:.1f} GB free, {needed / 1e9:.1f} GB are needed")
