-- (The engine cuts a script at every semicolon, so that those of a function's body are written as their code.)

CREATE FUNCTION "auth"."queue_webhook_of_login"() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
  E'BEGIN
    PERFORM auth.queue_webhook(''login.failed'', NEW.user_id, jsonb_build_object(
      ''user'', NEW.user_id, ''reason'', NEW.reason))\x3b
    RETURN NULL\x3b
  END';
CREATE TRIGGER "security_events_webhooks" AFTER INSERT ON "auth"."security_events" FOR EACH ROW
  WHEN (NEW."event" = 'login_failed') EXECUTE FUNCTION "auth"."queue_webhook_of_login"();
