"""Inspection as the worker uses it, with the real process: what files are, and what becomes of hostile ones."""

import io
import os
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from pytest_django import Settings

from apps.uploads import storage
from apps.uploads.errors import NotAllowed
from apps.uploads.inspection import inspector, ranges
from apps.uploads.inspection.facts import Facts
from apps.uploads.inspection.inspector import InspectionFailed, inspect
from tests.support import hostile, media

pytestmark = pytest.mark.pure


class Reader:
    """Ranges of some bytes; remembers how much was asked for."""

    def __init__(self, data: bytes) -> None:
        self.data, self.given = data, 0

    def __call__(self, offset: int, length: int) -> bytes:
        piece = self.data[offset : offset + length]
        self.given += len(piece)
        return piece


def look(data: bytes) -> Facts:
    return inspect(Reader(data), len(data))


MOVIES = {
    "mp4, index last": (lambda: media.video(), "video/mp4", "mp4", ("h264", "aac")),
    "mp4, index first": (lambda: media.video(index_first=True), "video/mp4", "mp4", ("h264", "aac")),
    "mp4, silent": (lambda: media.video(sound=None), "video/mp4", "mp4", ("h264",)),
    "mov": (lambda: media.video("mov"), "video/quicktime", "quicktime", ("h264", "aac")),
    "webm": (lambda: media.video("webm", codec="libvpx-vp9", sound="libopus"), "video/webm", "webm", ("vp9", "opus")),
    "mkv": (lambda: media.video("matroska"), "video/x-matroska", "matroska", ("h264", "aac")),
}


@pytest.mark.parametrize("name", MOVIES)
def test_a_videos_figures_are_found(name: str) -> None:
    make, content_type, format_, codecs = MOVIES[name]
    facts = look(make())
    assert facts.duration_ms is not None and abs(facts.duration_ms - 2000) <= 40
    assert (facts.content_type, facts.category, facts.format) == (content_type, "video", format_)
    assert (facts.width, facts.height, facts.codecs) == (320, 180, codecs)


@pytest.mark.skipif(shutil.which("ffprobe") is None and not os.environ.get("CI"), reason="Debian's ffmpeg is not here")
@pytest.mark.parametrize("name", MOVIES)
def test_ffprobe_says_the_same(name: str, tmp_path: Path) -> None:
    data = MOVIES[name][0]()
    (tmp_path / "file").write_bytes(data)
    shown = "format=duration:stream=codec_name,width,height"
    command = ["ffprobe", "-v", "error", "-show_entries", shown, "-of", "flat", str(tmp_path / "file")]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    facts = look(data)
    assert f"width={facts.width}\n" in said and f"height={facts.height}\n" in said
    assert all(f'codec_name="{codec}"' in said for codec in facts.codecs)
    seconds = float(said.split('format.duration="')[1].split('"')[0])
    assert facts.duration_ms is not None and abs(seconds * 1000 - facts.duration_ms) <= 1


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "GIF", "WEBP"])
def test_an_images_figures_are_found(format_: str) -> None:
    facts = look(media.image(format_, 64, 48))
    assert facts == Facts(f"image/{format_.lower()}", "image", format_.lower(), width=64, height=48)


def test_a_document_is_known() -> None:
    assert look(media.pdf()) == Facts("application/pdf", "document", "pdf")


def test_sound_without_a_picture_is_taken_only_where_it_is_wanted(settings: Settings) -> None:
    data = media.sound()
    with pytest.raises(NotAllowed, match="audio/mp4"):
        look(data)
    settings.UPLOAD_TYPES = ["audio/mp4"]
    facts = look(data)
    assert (facts.content_type, facts.category, facts.width) == ("audio/mp4", "other", None)


def test_little_is_read_of_a_large_file_whose_index_is_last() -> None:
    small = media.video()
    stuffing = 60 * 1024 * 1024
    padded = media.with_stuffing(small, stuffing)
    reader = Reader(padded)
    assert inspect(reader, len(padded)).duration_ms == 2000
    assert len(padded) > stuffing
    assert reader.given <= 256 * 1024


# What is not what it seems


def claiming(video: bytes, width: int) -> bytes:
    """A Matroska file whose header says that its picture is so wide."""
    honest = b"\xb0\x82" + (320).to_bytes(2, "big")
    assert video.count(honest) == 1
    return video.replace(honest, b"\xb0\x82" + width.to_bytes(2, "big"))


SVG = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
HOSTILE: dict[str, Callable[[], bytes]] = {
    "nothing": lambda: b"",
    "one byte": lambda: b"\0",
    "zeros": lambda: bytes(100_000),
    "noise": lambda: os.urandom(100_000),
    "zip": hostile.archive,
    "svg with a script": lambda: SVG,
    "html": lambda: b"<!doctype html><script>alert(1)</script>",
    "elf": lambda: Path(sys.executable).read_bytes()[:50_000],
    "playlist": lambda: b"#EXTM3U\n#EXTINF:10,\nhttp://127.0.0.1/\n",
    "video that ends early": lambda: media.video()[:-100],
    "video without its index": lambda: media.video()[:20_000],
    "video cut in the data, index first": lambda: media.video(index_first=True)[:-100],
    "matroska that ends early": lambda: media.video("matroska")[:-1000],
    "jpeg that ends early": lambda: media.image("JPEG")[:-2],
    "png that ends early": lambda: media.image("PNG")[:-12],
    "png with a wrong checksum": lambda: media.image("PNG").replace(b"IDATx", b"IDATy"),
    "webp that ends early": lambda: media.image("WEBP")[:-10],
    "pdf that ends early": lambda: media.pdf()[:-20],
    "image bomb": lambda: hostile.picture_claiming(60_000, 60_000),
    "image of no height": lambda: hostile.picture_claiming(10, 0),
    "header only": lambda: b"\0\0\0\x18ftypisom\0\0\0\0isommp42",
    "boxes in a circle": lambda: b"\0\0\0\x10ftypisom\0\0\0\0" + b"\0\0\0\x00moov" + b"\0\0\0\x01trak" + bytes(8),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_hostile_or_broken_is_refused_with_the_reason(name: str) -> None:
    with pytest.raises(NotAllowed) as refused:
        look(HOSTILE[name]())
    assert refused.value.message


def test_what_a_header_claims_is_not_believed_when_the_pictures_say_otherwise() -> None:
    assert look(claiming(media.video("matroska"), 65_535)).width == 320


def test_a_picture_that_is_too_wide_is_refused_where_only_the_header_says_how_wide_it_is() -> None:
    with pytest.raises(NotAllowed):
        look(claiming(media.video("matroska", codec="mpeg4").replace(b"V_MPEG4/ISO/ASP", b"V_UNCOMPRESSED\0"), 65_535))


def test_an_mp4_whose_headers_claim_a_huge_picture_is_refused() -> None:
    data = bytearray(media.video())
    entry = data.find(b"avc1", data.find(b"stsd"))
    data[entry + 28 : entry + 32] = struct.pack(">HH", 65_535, 65_535)
    parameters = data.find(b"avcC")
    data[parameters + 8 : parameters + 30] = bytes(22)  # what the decoder would correct it by
    with pytest.raises(NotAllowed):
        look(bytes(data))


@pytest.mark.parametrize(
    "shape",
    [
        b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nhttp://127.0.0.1:%d/segment.ts\n#EXT-X-ENDLIST\n",
        b"ffconcat version 1.0\nfile http://127.0.0.1:%d/film.mp4\n",
        b'<?xml version="1.0"?><MPD><BaseURL>http://127.0.0.1:%d/</BaseURL></MPD>',
        b"\0\0\0\x18ftypisom\0\0\0\0isommp42#EXTM3U\nhttp://127.0.0.1:%d/segment.ts\n",
    ],
)
def test_nobody_goes_where_a_playlist_points(shape: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        with pytest.raises(NotAllowed):
            look(shape % server.getsockname()[1])
        with pytest.raises(TimeoutError):
            server.accept()


def test_an_mp4_whose_data_lies_elsewhere_leads_nowhere() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        url = b"http://127.0.0.1:%d/x\0" % server.getsockname()[1]
        look(media.video_with_reference(url))  # its figures are in its index, so it is known all the same
        with pytest.raises(TimeoutError):
            server.accept()


def test_settings_say_what_is_taken_and_how_large(settings: Settings) -> None:
    settings.IMAGE_MAX_BYTES = 1000
    with pytest.raises(NotAllowed, match="so large"):
        look(media.image("PNG"))
    settings.IMAGE_MAX_BYTES, settings.IMAGE_MAX_PIXELS = 100_000, 1000
    with pytest.raises(NotAllowed, match="too many pixels"):
        look(media.image("PNG"))
    settings.IMAGE_MAX_PIXELS, settings.UPLOAD_TYPES = 100_000, ["video/mp4"]
    with pytest.raises(NotAllowed, match="image/png"):
        look(media.image("PNG"))


# What goes wrong around it


def test_storage_that_is_away_is_not_the_files_fault() -> None:
    def away(_offset: int, _length: int) -> bytes:
        raise storage.StorageAway

    with pytest.raises(storage.StorageAway):
        inspect(away, 1000)
    assert children() == []


def children() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if "inspection" in " ".join(child.cmdline())]


def test_slow_storage_does_not_use_up_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    data = media.image("PNG")

    def slow(offset: int, length: int) -> bytes:
        time.sleep(1.5)
        return data[offset : offset + length]

    assert inspect(slow, len(data), seconds=1.4).format == "png"


def test_storage_that_gives_less_than_it_has_is_no_reason_to_hang() -> None:
    with pytest.raises(NotAllowed):
        inspect(lambda _offset, _length: b"", 1000)


PROGRAM = "import sys, os, socket, struct, time; link = socket.socket(fileno=0); link.recv(100000); {}"


@pytest.fixture
def instead(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Have another program in the child's place: what someone would make of it who took it over."""

    def put(does: str) -> None:
        monkeypatch.setattr(inspector, "_PROGRAM", PROGRAM.format(does))

    return put


@pytest.mark.parametrize(
    "does",
    [
        "link.send(b'+'); os.kill(os.getpid(), 11)",
        "link.send(b'+'); sys.exit(0)",
        "link.send(b'+'); time.sleep(60)",
        "link.send(b'+' + b'x' * 13); time.sleep(60)",
        "link.send(b'+' + struct.pack('>cQI', b'r', 2**60, 10)); time.sleep(60)",
        "link.send(b'+' + struct.pack('>cQI', b'r', 0, 2**31)); time.sleep(60)",
        "link.send(b'+' + struct.pack('>cQI', b'd', 0, 4) + b'null'); time.sleep(60)",
        "link.send(b'+' + struct.pack('>cQI', b'd', 0, 2) + b'{{'); time.sleep(60)",
    ],
)
def test_a_child_that_crashes_hangs_or_lies_is_ended_and_the_file_refused(
    instead: Callable[[str], None], does: str
) -> None:
    instead(does)
    with pytest.raises(NotAllowed, match="damaged"):
        inspect(Reader(b"x" * 100), 100, seconds=1.5)
    assert children() == []


LIES = [
    {"content_type": "text/html"},
    {"category": "course"},
    {"width": -1},
    {"duration_ms": "long"},
    {"format": "x" * 1000},
    {"codecs": ["x" * 1000]},
    {"more": 1},
]


@pytest.mark.parametrize("lie", LIES)
def test_facts_that_cannot_be_are_not_believed(instead: Callable[[str], None], lie: dict[str, object]) -> None:
    facts = {"content_type": "image/png", "category": "image", "format": "png", "codecs": [], **lie}
    instead(
        f"import json; said = json.dumps({{'facts': {facts!r}}}).encode(); "
        "link.send(b'+' + struct.pack('>cQI', b'd', 0, len(said)) + said)"
    )
    with pytest.raises(NotAllowed, match="damaged"):
        inspect(Reader(b"x" * 100), 100)


@pytest.mark.parametrize("does", ["sys.exit(1)", "link.send(b'?'); time.sleep(5)", "time.sleep(60)"])
def test_a_child_that_does_not_start_is_not_the_files_fault(instead: Callable[[str], None], does: str) -> None:
    instead(does)
    with pytest.raises(InspectionFailed):
        inspect(Reader(b"x" * 100), 100, seconds=1)


def test_the_child_has_neither_environment_nor_a_way_to_open_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looked at from outside, while it waits for its first range."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very secret")
    seen: dict[str, object] = {}
    data = media.image("PNG")

    def read(offset: int, length: int) -> bytes:
        if not seen:
            (child,) = children()
            limits = Path(f"/proc/{child.pid}/limits").read_text()
            seen["environment"] = child.environ()
            seen["descriptors"] = sorted(int(name) for name in os.listdir(f"/proc/{child.pid}/fd"))
            seen["limits"] = {line[:26].strip(): line[26:].split()[0] for line in limits.splitlines()[1:]}
        return data[offset : offset + length]

    inspect(read, len(data))
    assert "very secret" not in str(seen["environment"])
    assert seen["descriptors"] == [0, 1, 2]
    limits = seen["limits"]
    assert isinstance(limits, dict)
    assert limits["Max open files"] == "0" and limits["Max file size"] == "0"
    assert int(limits["Max address space"]) <= 1024**3 and int(limits["Max cpu time"]) <= 20


TAKEN_OVER = """
import os, socket, sys
sys.path.insert(0, sys.argv[1])
from apps.uploads.inspection import child
child._load()
child._give_up_rights()
os.close(0)
os.close(1)
for tries in (lambda: open(f"/proc/{os.getppid()}/environ"), socket.socket, os.pipe, lambda: os.dup(2)):
    try:
        os.write(2, f"got {tries()}".encode())
    except OSError:
        os.write(2, b"no ")
"""


def test_descriptors_that_the_child_closes_are_not_to_be_had_again() -> None:
    command = [sys.executable, "-I", "-c", TAKEN_OVER, str(inspector._ROOT)]
    done = subprocess.run(command, env={}, stdin=subprocess.DEVNULL, capture_output=True, timeout=30, check=True)
    assert done.stderr == b"no no no no "


def test_many_files_are_looked_at_at_once() -> None:
    data, found = media.image("PNG"), []
    threads = [threading.Thread(target=lambda: found.append(look(data).format)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["png"] * 4


# The file object


def test_a_range_file_reads_like_any_other() -> None:
    data = os.urandom(300_000)
    file, real = ranges.RangeFile(Reader(data), len(data), budget_bytes=10**6), io.BytesIO(data)
    for where, whence, length in [(0, 0, 10), (65_530, 0, 20), (-5, 2, 100), (-50_000, 1, 30_000), (0, 0, -1)]:
        assert file.seek(where, whence) == real.seek(where, whence)
        assert file.read(length) == real.read(length)
        assert file.tell() == real.tell()
    assert file.at(100, 5) == data[100:105] and file.tell() == real.tell()
    file.seek(10)
    assert (file.read1 if hasattr(file, "read1") else file.read)(4) == data[10:14]
    buffer = bytearray(8)
    assert (file.readinto(buffer), bytes(buffer)) == (8, data[14:22])


def test_a_range_file_fetches_what_is_read_once_and_no_more_than_its_budget() -> None:
    data = bytes(1_000_000)
    reader = Reader(data)
    file = ranges.RangeFile(reader, len(data), budget_bytes=300_000)
    for _ in range(5):
        file.at(100, 50)
    assert reader.given == ranges.BLOCK_BYTES
    with pytest.raises(ranges.TooMuch):
        file.read()
    assert reader.given <= 300_000
