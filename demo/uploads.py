"""The use case of uploads: a save that makes a chapter, has films uploaded into it, and renames videos beside that."""

import hashlib
import time
from collections.abc import Iterator

from demo import changes, film, tus
from demo.changes import Expected
from demo.client import Answer, Json
from demo.stage import Intention, Stage, Wrong

FILM_SECONDS = (4, 6)
LINE_BYTES_A_SECOND = 10_000_000
_PIECE_BYTES = 256 * 1024

Asked = tuple[Intention, Answer]


def upload_films_in_a_mixed_save(stage: Stage) -> None:
    stage.begin("C1 one save: a new chapter, films uploaded into it, videos renamed")
    films = [film.make(seconds) for seconds in FILM_SECONDS]
    asked = _save(stage, len(films))
    for number, data in enumerate(films, 1):
        upload = _open(stage, asked, number, data)
        answer = upload.stream(0, _over_the_line(data), len(data))
        if answer.status != 204:
            raise Wrong(f"The bytes of a film were answered with {answer.status}: {answer.body}")
        _arrives(stage, asked, upload, data, is_last=number == len(films))


def _save(stage: Stage, films: int) -> Asked:
    """Ask for the chapter and the new titles; the operation goes on with the films."""
    first, second = stage.copy.chapters[2]["videos"][:2]
    wanted: list[Json] = [
        {"action": "chapter.create", "tempId": "films", "title": "Films of our own"},
        *({"action": "video.update", "videoId": one["id"], "title": "Renamed on the way"} for one in (first, second)),
    ]

    def told(answer: Answer) -> list[Expected]:
        steps, ids = answer.data["steps"], answer.data["ids"]
        return [changes.event_of(change, stage.topic, step, ids) for change, step in zip(wanted, steps, strict=True)]

    body = {"changes": wanted, "expect": len(wanted) + films, "stepId": "save"}
    asked = stage.request("POST", f"courses/{stage.course_id}/save/", body, told, f"films-{stage.run}")
    stage.wait(asked)
    return asked


def _open(stage: Stage, asked: Asked, number: int, data: bytes) -> tus.Upload:
    """Begin to upload a film into the chapter that the save makes; its video is there at once."""
    intention, answer = asked
    expect = len(answer.data["steps"]) + len(FILM_SECONDS)
    upload = tus.create(
        stage.owner,
        len(data),
        {"kind": "video", "chapterId": "films", "tempId": f"film-{number}", "title": f"Film {number}"},
        filename=f"film-{number}.mp4",
        checksum=hashlib.sha256(data).hexdigest(),
        operationId=intention.operation_id,
        stepId=f"film-{number}",
        expect=expect,
    )
    stage.uploads[upload.upload_id] = stage.topic
    ids = {"videoId": upload.target_id, "uploadId": upload.upload_id, "tempId": f"film-{number}"}
    intention.expected.append(Expected(stage.topic, "video-create-complete", {**ids, "title": f"Film {number}"}))
    stage.wait(asked)
    return upload


def _arrives(stage: Stage, asked: Asked, upload: tus.Upload, data: bytes, *, is_last: bool) -> None:
    """Wait until every screen knows that a film is there; after the last one the whole save is over."""
    intention, answer = asked
    ids = {"videoId": upload.target_id, "uploadId": upload.upload_id}
    intention.expected.append(Expected(stage.topic, "upload-complete", {**ids, "status": "complete"}))
    if is_last:
        steps = len(answer.data["steps"]) + len(FILM_SECONDS)
        intention.expected.append(changes.end_of(stage.topic, succeeded=steps))
    stage.wait(asked)
    file = stage.owner.get(f"videos/{upload.target_id}/").data["file"]
    if (file["size"], file["checksum"]) != (len(data), hashlib.sha256(data).hexdigest()):
        raise Wrong(f"The film that arrived is another one: {file}")
    stage.board.note(
        f"{file['filename']}: {file['width']} × {file['height']}, {file['duration']:.1f} s, {file['codecs']}"
    )


def _over_the_line(data: bytes) -> Iterator[bytes]:
    """Give a film's bytes no faster than a good line would carry them."""
    began = time.monotonic()
    for at in range(0, len(data), _PIECE_BYTES):
        ahead = at / LINE_BYTES_A_SECOND - (time.monotonic() - began)
        time.sleep(max(0.0, ahead))
        yield data[at : at + _PIECE_BYTES]
