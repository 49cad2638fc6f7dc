"""
A file goes into the trash with all its links by one write of its row, instead of one for the links and one for the file.

Whoever trashes it says that it has no links from now on, and removes them afterwards, within the same transaction; that
none is left is checked at its end.
"""

from django.db import migrations

_REMOVED = """
    CREATE OR REPLACE FUNCTION media_links_removed() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        UPDATE media_media media SET link_count = media.link_count - change.links
        FROM (SELECT media_id, count(*) AS links FROM removed GROUP BY media_id) AS change
        WHERE media.id = change.media_id {more};
        RETURN NULL;
    END $$;
"""
NONE_LEFT = (
    _REMOVED.format(more="AND media.deleted_at IS NULL")
    + """
    CREATE FUNCTION media_trashed() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF EXISTS (SELECT FROM media_medialink WHERE media_id = NEW.id) THEN
            RAISE EXCEPTION 'a file in the trash has no links'
                USING ERRCODE = 'check_violation', CONSTRAINT = 'trashed_media_left_no_links';
        END IF;
        RETURN NULL;
    END $$;
    CREATE CONSTRAINT TRIGGER trashed_media_left_no_links AFTER UPDATE ON media_media
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (OLD.deleted_at IS NULL AND NEW.deleted_at IS NOT NULL)
        EXECUTE FUNCTION media_trashed();
"""
)
SUBTRACTED_FIRST = (
    """
    DROP TRIGGER trashed_media_left_no_links ON media_media;
    DROP FUNCTION media_trashed();
"""
    + _REMOVED.format(more="")
)


class Migration(migrations.Migration):
    dependencies = [("media", "0006_names_without_the_table")]

    operations = [migrations.RunSQL(NONE_LEFT, SUBTRACTED_FIRST)]
