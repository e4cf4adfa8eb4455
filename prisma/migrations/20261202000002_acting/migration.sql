-- (The engine cuts a script at every semicolon, so that those of a function's body are written as their code.)

-- However a session is ended in which somebody acts, there is an event with both of them.

CREATE FUNCTION "auth"."record_end_of_acting"() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
  E'BEGIN
    INSERT INTO auth.security_events (event, user_id, session_id, reason, act)
      SELECT ''impersonation_ended'', NEW.user_id, NEW.id, NEW.revoked_reason,
             jsonb_build_object(''sub'', actor_id, ''sid'', actor_session_id)
      FROM auth.impersonations WHERE session_id = NEW.id\x3b
    RETURN NULL\x3b
  END';
CREATE TRIGGER "sessions_record_end_of_acting" AFTER UPDATE OF "revoked_at" ON "auth"."sessions" FOR EACH ROW
  WHEN (OLD."revoked_at" IS NULL AND NEW."revoked_at" IS NOT NULL) EXECUTE FUNCTION "auth"."record_end_of_acting"();
-- Before, as who acts is deleted with it. What expired is over already, when it is deleted a day after.
CREATE FUNCTION "auth"."record_deletion_of_acting"() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
  E'BEGIN
    INSERT INTO auth.security_events (event, user_id, session_id, reason, act)
      SELECT ''impersonation_ended'', OLD.user_id, OLD.id, ''revoked_by_admin'',
             jsonb_build_object(''sub'', actor_id, ''sid'', actor_session_id)
      FROM auth.impersonations WHERE session_id = OLD.id\x3b
    RETURN OLD\x3b
  END';
CREATE TRIGGER "sessions_record_deletion_of_acting" BEFORE DELETE ON "auth"."sessions" FOR EACH ROW
  WHEN (OLD."revoked_at" IS NULL AND OLD."expires_at" > now())
  EXECUTE FUNCTION "auth"."record_deletion_of_acting"();

-- Who acts as somebody else does so no longer than their own session lasts.

CREATE FUNCTION "auth"."end_acting"() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
  E'BEGIN
    UPDATE auth.sessions SET revoked_at = now(), revoked_reason = ''actor_ended''
      WHERE revoked_at IS NULL AND id IN (SELECT session_id FROM auth.impersonations WHERE actor_session_id = OLD.id)\x3b
    RETURN NULL\x3b
  END';
CREATE TRIGGER "sessions_end_acting" AFTER UPDATE OF "revoked_at" ON "auth"."sessions" FOR EACH ROW
  WHEN (OLD."revoked_at" IS NULL AND NEW."revoked_at" IS NOT NULL) EXECUTE FUNCTION "auth"."end_acting"();
CREATE TRIGGER "sessions_deleted_end_acting" AFTER DELETE ON "auth"."sessions" FOR EACH ROW
  EXECUTE FUNCTION "auth"."end_acting"();

-- Who acted in a session is known as long as the session is.
CREATE FUNCTION "auth"."forget_acting"() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
  E'BEGIN
    IF TG_OP = ''DELETE'' THEN
      DELETE FROM auth.impersonations WHERE session_id = OLD.id\x3b
    ELSE
      DELETE FROM auth.impersonations\x3b
    END IF\x3b
    RETURN NULL\x3b
  END';
CREATE TRIGGER "sessions_forget_acting" AFTER DELETE ON "auth"."sessions" FOR EACH ROW
  EXECUTE FUNCTION "auth"."forget_acting"();
CREATE TRIGGER "sessions_forget_all_acting" AFTER TRUNCATE ON "auth"."sessions"
  FOR EACH STATEMENT EXECUTE FUNCTION "auth"."forget_acting"();
