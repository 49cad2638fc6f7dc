"""What the database keeps right by itself, whoever writes: cascades, counts, totals, and a history that only grows."""

from django.db import migrations

TARGETS = {"home": "course", "course": "course", "chapter": "chapter", "video": "video"}

CASCADES = "".join(
    f"""
    ALTER TABLE media_medialink ADD CONSTRAINT media_medialink_{column}_fk
        FOREIGN KEY ({column}_id) REFERENCES courses_{table} (id) ON DELETE CASCADE;
    """
    for column, table in TARGETS.items()
) + """
    ALTER TABLE media_deletion ADD CONSTRAINT media_deletion_course_fk
        FOREIGN KEY (course_id) REFERENCES courses_course (id) ON DELETE CASCADE;
"""
NO_CASCADES = "".join(
    f"ALTER TABLE media_medialink DROP CONSTRAINT media_medialink_{column}_fk;" for column in TARGETS
) + "ALTER TABLE media_deletion DROP CONSTRAINT media_deletion_course_fk;"

# One update for each statement, however many links it makes or removes. Whoever does that in bulk has locked the files
# before, in the order of their ids.
LINK_COUNTS = """
    CREATE FUNCTION media_links_added() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        UPDATE media_media media
        SET link_count = media.link_count + change.links,
            last_used_at = greatest(media.last_used_at, change.youngest)
        FROM (SELECT media_id, count(*) AS links, max(created_at) AS youngest FROM added GROUP BY media_id) AS change
        WHERE media.id = change.media_id;
        RETURN NULL;
    END $$;
    CREATE FUNCTION media_links_removed() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        UPDATE media_media media SET link_count = media.link_count - change.links
        FROM (SELECT media_id, count(*) AS links FROM removed GROUP BY media_id) AS change
        WHERE media.id = change.media_id;
        RETURN NULL;
    END $$;
    CREATE FUNCTION media_link_stays() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION 'a link is made and removed, never pointed elsewhere' USING ERRCODE = 'restrict_violation';
    END $$;
    CREATE TRIGGER count_added AFTER INSERT ON media_medialink
        REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION media_links_added();
    CREATE TRIGGER count_removed AFTER DELETE ON media_medialink
        REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION media_links_removed();
    CREATE TRIGGER keep_ends BEFORE UPDATE ON media_medialink FOR EACH ROW
        WHEN ((OLD.media_id, OLD.home_id, OLD.course_id, OLD.chapter_id, OLD.video_id)
            IS DISTINCT FROM (NEW.media_id, NEW.home_id, NEW.course_id, NEW.chapter_id, NEW.video_id))
        EXECUTE FUNCTION media_link_stays();
"""
NO_LINK_COUNTS = """
    DROP TRIGGER count_added ON media_medialink;
    DROP TRIGGER count_removed ON media_medialink;
    DROP TRIGGER keep_ends ON media_medialink;
    DROP FUNCTION media_links_added(), media_links_removed(), media_link_stays();
"""

# The rows of one owner are only ever locked together, behind one advisory lock: two transactions of theirs that touch
# categories in different orders would otherwise deadlock.
TOTALS = """
    CREATE FUNCTION media_change_totals(owners uuid[], kinds text[], in_trash boolean[], files bigint[], sizes bigint[])
    RETURNS void LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM pg_advisory_xact_lock(hashtextextended(name, 3))
        FROM (SELECT DISTINCT owner::text AS name FROM unnest(owners) AS owner ORDER BY 1) AS named;
        INSERT INTO media_librarytotal (owner_id, category, trashed, count, bytes)
        SELECT owner, kind, trash, 0, 0 FROM unnest(owners, kinds, in_trash) AS change(owner, kind, trash)
        ON CONFLICT DO NOTHING;
        UPDATE media_librarytotal total SET count = total.count + change.files, bytes = total.bytes + change.bytes
        FROM unnest(owners, kinds, in_trash, files, sizes) AS change(owner, kind, trash, files, bytes)
        WHERE total.owner_id = owner AND total.category = kind AND total.trashed = trash;
    END $$;
    CREATE FUNCTION media_files_added() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM media_change_totals(array_agg(owner_id), array_agg(category), array_agg(trashed), array_agg(files),
            array_agg(bytes))
        FROM (
            SELECT owner_id, category::text, trashed, count(*) AS files, sum(size)::bigint AS bytes
            FROM added GROUP BY 1, 2, 3
        ) AS change HAVING count(*) > 0;
        RETURN NULL;
    END $$;
    CREATE FUNCTION media_files_removed() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM media_change_totals(array_agg(owner_id), array_agg(category), array_agg(trashed), array_agg(files),
            array_agg(bytes))
        FROM (
            SELECT owner_id, category::text, trashed, -count(*) AS files, -sum(size)::bigint AS bytes
            FROM removed GROUP BY 1, 2, 3
        ) AS change HAVING count(*) > 0;
        RETURN NULL;
    END $$;
    CREATE FUNCTION media_files_changed() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM media_change_totals(array_agg(owner_id), array_agg(category), array_agg(trashed), array_agg(files),
            array_agg(bytes))
        FROM (
            SELECT owner_id, category, trashed, sum(one)::bigint AS files, sum(one * size)::bigint AS bytes
            FROM (
                SELECT owner_id, category::text, trashed, size, 1 AS one FROM added
                UNION ALL SELECT owner_id, category::text, trashed, size, -1 FROM removed
            ) AS sides
            GROUP BY 1, 2, 3 HAVING sum(one) <> 0 OR sum(one * size) <> 0
        ) AS change HAVING count(*) > 0;
        RETURN NULL;
    END $$;
    CREATE TRIGGER total_added AFTER INSERT ON media_media
        REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION media_files_added();
    CREATE TRIGGER total_removed AFTER DELETE ON media_media
        REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION media_files_removed();
    CREATE TRIGGER total_changed AFTER UPDATE ON media_media
        REFERENCING OLD TABLE AS removed NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION media_files_changed();
"""
NO_TOTALS = """
    DROP TRIGGER total_added ON media_media;
    DROP TRIGGER total_removed ON media_media;
    DROP TRIGGER total_changed ON media_media;
    DROP FUNCTION media_files_added(), media_files_removed(), media_files_changed();
    DROP FUNCTION media_change_totals(uuid[], text[], boolean[], bigint[], bigint[]);
"""

APPEND_ONLY = """
    CREATE FUNCTION media_history_stays() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION 'history is only added to' USING ERRCODE = 'restrict_violation';
    END $$;
    CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON media_historyentry
        FOR EACH ROW EXECUTE FUNCTION media_history_stays();
"""
NOT_APPEND_ONLY = """
    DROP TRIGGER append_only ON media_historyentry;
    DROP FUNCTION media_history_stays();
"""


class Migration(migrations.Migration):
    dependencies = [("media", "0001_initial")]

    operations = [
        migrations.RunSQL(CASCADES, NO_CASCADES),
        migrations.RunSQL(LINK_COUNTS, NO_LINK_COUNTS),
        migrations.RunSQL(TOTALS, NO_TOTALS),
        migrations.RunSQL(APPEND_ONLY, NOT_APPEND_ONLY),
    ]
