-- Whatever ends a session or changes roles, a service or a hand at the database, announces it in the same commit.
-- What a function writes it writes as its owner: whoever may delete a user need not be able to add security events.
-- (The engine cuts a script at every semicolon, so that those of a function's body are written as their code.)

-- Sessions

CREATE FUNCTION "auth"."announce_ended_session"() RETURNS trigger
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS
  E'BEGIN
    PERFORM pg_notify(''sallyport_revocations'', json_build_object(
      ''session'', NEW.id, ''reason'', NEW.revoked_reason, ''at'', extract(epoch FROM NEW.revoked_at))::text)\x3b
    RETURN NEW\x3b
  END';

-- Without a reason it was ended by hand.
CREATE FUNCTION "auth"."give_reason"() RETURNS trigger
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS
  E'BEGIN NEW.revoked_reason := ''revoked_by_admin''\x3b RETURN NEW\x3b END';
CREATE TRIGGER "sessions_end_with_a_reason" BEFORE UPDATE OF "revoked_at" ON "auth"."sessions" FOR EACH ROW
  WHEN (NEW."revoked_at" IS NOT NULL AND NEW."revoked_reason" IS NULL) EXECUTE FUNCTION "auth"."give_reason"();
CREATE TRIGGER "sessions_announce_end" AFTER UPDATE OF "revoked_at" ON "auth"."sessions" FOR EACH ROW
  WHEN (OLD."revoked_at" IS NULL AND NEW."revoked_at" IS NOT NULL) EXECUTE FUNCTION "auth"."announce_ended_session"();

-- A row that is gone tells nobody who comes later that the session has ended: the security event does. What ended a day
-- ago concerns no token, and is what housekeeping deletes.
CREATE FUNCTION "auth"."announce_deleted_session"(session "auth"."sessions") RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
  E'BEGIN
    INSERT INTO auth.security_events (event, user_id, session_id, reason)
      VALUES (''session_deleted'', session.user_id, session.id, coalesce(session.revoked_reason, ''revoked_by_admin''))\x3b
    PERFORM pg_notify(''sallyport_revocations'', json_build_object(
      ''session'', session.id, ''reason'', coalesce(session.revoked_reason, ''revoked_by_admin''),
      ''at'', extract(epoch FROM now()))::text)\x3b
  END';
REVOKE EXECUTE ON FUNCTION "auth"."announce_deleted_session" FROM PUBLIC;
CREATE FUNCTION "auth"."announce_deleted_sessions"() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
  E'BEGIN
    IF TG_OP = ''DELETE'' THEN
      PERFORM auth.announce_deleted_session(OLD)\x3b
    ELSE
      PERFORM auth.announce_deleted_session(s) FROM auth.sessions s
        WHERE coalesce(s.revoked_at, s.expires_at) > now() - interval ''1 day''\x3b
    END IF\x3b
    RETURN NULL\x3b
  END';
CREATE TRIGGER "sessions_announce_deletion" AFTER DELETE ON "auth"."sessions" FOR EACH ROW
  WHEN (coalesce(OLD."revoked_at", OLD."expires_at") > now() - interval '1 day')
  EXECUTE FUNCTION "auth"."announce_deleted_sessions"();
CREATE TRIGGER "sessions_announce_truncation" BEFORE TRUNCATE ON "auth"."sessions"
  FOR EACH STATEMENT EXECUTE FUNCTION "auth"."announce_deleted_sessions"();
CREATE INDEX "security_events_session_deleted_idx" ON "auth"."security_events"("at") WHERE "event" = 'session_deleted';

-- Users: their sessions go with them, by the foreign key.

CREATE FUNCTION "auth"."announce_roles"() RETURNS trigger
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS
  E'BEGIN
    NEW.roles_changed_at := now()\x3b
    PERFORM pg_notify(''sallyport_revocations'', json_build_object(
      ''user'', NEW.id, ''roles'', NEW.roles, ''at'', extract(epoch FROM now()))::text)\x3b
    RETURN NEW\x3b
  END';
CREATE TRIGGER "users_announce_roles" BEFORE UPDATE OF "roles" ON "auth"."users" FOR EACH ROW
  WHEN (OLD."roles" IS DISTINCT FROM NEW."roles") EXECUTE FUNCTION "auth"."announce_roles"();

CREATE FUNCTION "auth"."end_sessions_of_disabled"() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
  E'BEGIN
    UPDATE auth.sessions SET revoked_at = now(), revoked_reason = ''disabled''
      WHERE user_id = NEW.id AND revoked_at IS NULL AND expires_at > now()\x3b
    RETURN NEW\x3b
  END';
CREATE TRIGGER "users_end_sessions" AFTER UPDATE OF "disabled_at" ON "auth"."users" FOR EACH ROW
  WHEN (OLD."disabled_at" IS NULL AND NEW."disabled_at" IS NOT NULL) EXECUTE FUNCTION "auth"."end_sessions_of_disabled"();
