"""The use cases of the media library: files, where they are used, and what protects them."""

import hashlib
import io

from PIL import Image

from demo import changes, film, tus
from demo.changes import Expected
from demo.client import Json
from demo.stage import Stage, Wrong

CLIP_SECONDS = 2
PICTURES = 24
PICTURES_IN_USE = 4


def keep_a_library(stage: Stage) -> None:
    """Play a file's whole life, and then that of many at once."""
    clip, pictures = upload_and_rename(stage)
    links = link_into_two_courses(stage, clip)
    delete_what_is_in_use(stage, clip, links)
    restore_with_links(stage, clip, links)
    delete_many(stage, pictures)


def upload_and_rename(stage: Stage) -> tuple[str, list[str]]:
    """Upload a clip and many pictures; returns their ids."""
    stage.begin("E1 upload files into the library, find and rename one")
    clip = _upload(stage, "clip.mp4", film.make(CLIP_SECONDS))
    pictures = [_upload(stage, f"figure-{number}.png", _picture(number)) for number in range(PICTURES)]
    renamed = Expected(stage.own_topic, "media-update-complete", {"mediaId": clip, "updates": {"name": "Welcome.mp4"}})
    stage.wait(stage.request("PATCH", f"media/{clip}/", {"name": "Welcome.mp4"}, [renamed]))
    found = stage.owner.get("media/?q=welc&category=video&usage=unused").body
    if [file["id"] for file in found["data"]] != [clip]:
        raise Wrong(f"The library finds {found['data']} instead of the clip.")
    for category, total in found["totals"].items():
        if total["count"]:
            stage.board.note(f"library: {category}, {total['count']} files, {total['bytes'] / 1e6:.1f} MB")
    return clip, pictures


def link_into_two_courses(stage: Stage, clip: str) -> list[Json]:
    """Make the clip a video's own file in one course, and link it to another course; returns where it is linked."""
    stage.begin("E2 link a file into two courses")
    video, other = stage.copy.chapters[4]["videos"][0], _other_course(stage)
    links = [
        {"targetType": "video", "targetId": video["id"], "role": "source", "courseId": stage.course_id},
        {"targetType": "course", "targetId": other, "role": "attachment", "courseId": other},
    ]
    for count, link in enumerate(links, 1):
        body = {name: link[name] for name in ("targetType", "targetId", "role")}
        told = [
            Expected(stage.own_topic, "media-link-complete", {"mediaId": clip, **body, "linkCount": count}),
            Expected(f"course:{link['courseId']}", "media-link-complete", {"mediaId": clip, **body}),
            *_video_changes(link, has_file=True),
        ]
        link["linkId"] = stage.wait(stage.request("POST", f"media/{clip}/links/", body, told)).data["linkId"]
    playback = stage.viewer.get(f"videos/{video['id']}/playback/").data
    stage.board.note(f"the viewer may play it: {playback['file']['filename']}, until {playback['expiresAt']}")
    stage.refused(403, stage.viewer, "PATCH", f"media/{clip}/", {"name": "Mine"})
    return links


def delete_what_is_in_use(stage: Stage, clip: str, links: list[Json]) -> None:
    """Be refused, with the reasons; then insist."""
    stage.begin("E4 a file in use is not deleted, unless by force")
    error = stage.refused(409, stage.owner, "DELETE", f"media/{clip}/").body["error"]
    if {blocker["linkId"] for blocker in error["blockers"]} != {link["linkId"] for link in links}:
        raise Wrong(f"The refusal does not say where the file is used: {error}")
    for blocker in error["blockers"]:
        stage.board.note(f"in use: {blocker['type']} {blocker['title']!r}")
    told = [Expected(stage.own_topic, "media-delete-complete", {"mediaId": clip, "removedLinks": len(links)})]
    for link in links:
        told.append(Expected(f"course:{link['courseId']}", "media-unlink-complete", {"linkId": link["linkId"]}))
        told += _video_changes(link, has_file=False)
    stage.wait(stage.request("DELETE", f"media/{clip}/?force=true", {}, told))


def restore_with_links(stage: Stage, clip: str, links: list[Json]) -> None:
    """Take it out of the trash, and all its links with it."""
    stage.begin("E5 restore a file with its links")
    told = [Expected(stage.own_topic, "media-restore-complete", {"mediaId": clip})]
    for link in links:
        told.append(Expected(f"course:{link['courseId']}", "media-link-complete", {"linkId": link["linkId"]}))
        told += _video_changes(link, has_file=True)
    asked = stage.request("POST", f"media/{clip}/restore/", {"restoreLinks": "all"}, told)
    stage.wait(asked)
    report = stage.owner.get(f"operations/{asked[1].operation_id}/").data["steps"][0]["data"]["links"]
    if any(link["result"] != "restored" for link in report) or len(report) != len(links):
        raise Wrong(f"Not every link came back: {report}")
    stage.board.note(f"{len(report)} of {len(links)} links restored")


def delete_many(stage: Stage, pictures: list[str]) -> None:
    """Link some pictures, delete all: those in use stay. Then bring the others back."""
    stage.begin("E7 link, delete and restore many files, each with one end")
    used, free = pictures[:PICTURES_IN_USE], pictures[PICTURES_IN_USE:]
    course = _other_course(stage)
    linked = [
        Expected(topic, "media-link-complete", {"mediaId": picture})
        for picture in used
        for topic in (stage.own_topic, f"course:{course}")
    ]
    _bulk(stage, "link", used, linked, targetType="course", targetId=course)
    refused = [Expected(stage.own_topic, "operation-failed", {"mediaId": picture}) for picture in used]
    deleted = [Expected(stage.own_topic, "media-delete-complete", {"mediaId": picture}) for picture in free]
    _bulk(stage, "delete", [*used, *free], [*refused, *deleted], failed=len(used))
    restored = [Expected(stage.own_topic, "media-restore-complete", {"mediaId": picture}) for picture in free]
    _bulk(stage, "restore", free, restored)


def _bulk(
    stage: Stage, verb: str, media_ids: list[str], told: list[Expected], *, failed: int = 0, **more: object
) -> None:
    end = changes.end_of(stage.own_topic, succeeded=len(media_ids) - failed, failed=failed)
    asked = stage.request("POST", f"media/bulk/{verb}/", {"mediaIds": media_ids, **more}, [*told, end])
    stage.bulks[asked[1].operation_id] = stage.own_topic
    stage.wait(asked)


def _upload(stage: Stage, name: str, data: bytes) -> str:
    """Upload a file into the library, and wait until every tab knows that it is there; returns its id."""
    intention = stage.intend()
    upload = tus.create(
        stage.owner,
        len(data),
        {"kind": "media", "name": name},
        filename=name,
        checksum=hashlib.sha256(data).hexdigest(),
        operationId=intention.operation_id,
    )
    stage.uploads[upload.upload_id] = stage.own_topic
    ids = {"mediaId": upload.target_id, "uploadId": upload.upload_id}
    intention.expected += [
        Expected(stage.own_topic, "media-create-complete", {**ids, "name": name}),
        Expected(stage.own_topic, "media-upload-complete", {**ids, "status": "complete"}),
    ]
    answer = upload.patch(0, data)
    if answer.status != 204:
        raise Wrong(f"The bytes of {name} were answered with {answer.status}: {answer.body}")
    stage.hear_all(intention)
    return upload.target_id


def _video_changes(link: Json, *, has_file: bool) -> list[Expected]:
    """Say what a course hears when a video's own file comes from a link, or goes with it."""
    if link["role"] != "source":
        return []
    topic, video_id = f"course:{link['courseId']}", link["targetId"]
    if has_file:
        return [Expected(topic, "video-update-complete", {"videoId": video_id})]
    status = {"updates": {"status": "empty", "file": None}}
    return [Expected(topic, "video-update-complete", {"videoId": video_id, **status})]


def _other_course(stage: Stage) -> str:
    return next(id_ for id_ in stage.tabs[0].copies if id_ != stage.course_id)


def _picture(number: int) -> bytes:
    """Paint a small picture, unlike the others."""
    into = io.BytesIO()
    Image.new("RGB", (64, 48), (number * 10 % 256, 90, 160)).save(into, "PNG")
    return into.getvalue()
