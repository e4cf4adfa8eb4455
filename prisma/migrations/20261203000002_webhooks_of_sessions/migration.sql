-- No refresh changes these columns: it fires none of these triggers.
-- (The engine cuts a script at every semicolon, so that those of a function's body are written as their code.)

CREATE FUNCTION "auth"."queue_webhook_of_session"() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
  E'BEGIN
    IF TG_OP = ''TRUNCATE'' THEN
      PERFORM auth.queue_webhook(''session.ended'', user_id, jsonb_build_object(
        ''user'', user_id, ''session'', id, ''reason'', ''revoked_by_admin'')) FROM auth.sessions
        WHERE revoked_at IS NULL AND expires_at > now()\x3b
    ELSIF TG_OP = ''DELETE'' THEN
      PERFORM auth.queue_webhook(''session.ended'', OLD.user_id, jsonb_build_object(
        ''user'', OLD.user_id, ''session'', OLD.id,
        ''reason'', CASE WHEN OLD.expires_at > now() THEN ''revoked_by_admin'' ELSE ''expired'' END))\x3b
    ELSE
      PERFORM auth.queue_webhook(''session.ended'', NEW.user_id, jsonb_build_object(
        ''user'', NEW.user_id, ''session'', NEW.id, ''reason'', NEW.revoked_reason))\x3b
    END IF\x3b
    RETURN NULL\x3b
  END';
CREATE TRIGGER "sessions_webhooks" AFTER UPDATE OF "revoked_at" ON "auth"."sessions" FOR EACH ROW
  WHEN (OLD."revoked_at" IS NULL AND NEW."revoked_at" IS NOT NULL) EXECUTE FUNCTION "auth"."queue_webhook_of_session"();
-- One that expired is deleted a day later.
CREATE TRIGGER "sessions_webhooks_deleted" AFTER DELETE ON "auth"."sessions" FOR EACH ROW
  WHEN (OLD."revoked_at" IS NULL) EXECUTE FUNCTION "auth"."queue_webhook_of_session"();
CREATE TRIGGER "sessions_webhooks_truncated" BEFORE TRUNCATE ON "auth"."sessions"
  FOR EACH STATEMENT EXECUTE FUNCTION "auth"."queue_webhook_of_session"();
