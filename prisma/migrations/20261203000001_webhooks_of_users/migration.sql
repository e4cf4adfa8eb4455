-- (The engine cuts a script at every semicolon, so that those of a function's body are written as their code.)

-- Of a person who is gone stays the id: also in events that are still to be sent.
CREATE FUNCTION "auth"."queue_webhook_of_user"() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
  E'DECLARE changed text[] := ''{}''\x3b person jsonb\x3b
  BEGIN
    IF TG_OP = ''DELETE'' THEN
      UPDATE auth.webhook_events SET data = jsonb_build_object(''user'', OLD.id, ''erased'', true)
        WHERE subject = OLD.id AND type LIKE ''user.%''\x3b
      PERFORM auth.queue_webhook(''user.deleted'', OLD.id, jsonb_build_object(''user'', OLD.id))\x3b
      RETURN NULL\x3b
    END IF\x3b
    person := jsonb_build_object(''user'', NEW.id, ''email'', NEW.email, ''name'', NEW.name, ''roles'', NEW.roles,
      ''disabled'', NEW.disabled_at IS NOT NULL, ''deleteAfter'', NEW.delete_after)\x3b
    IF TG_OP = ''INSERT'' THEN
      PERFORM auth.queue_webhook(''user.created'', NEW.id, person)\x3b
      RETURN NULL\x3b
    END IF\x3b
    IF OLD.email <> NEW.email THEN changed := changed || ''email''::text\x3b END IF\x3b
    IF OLD.name <> NEW.name THEN changed := changed || ''name''::text\x3b END IF\x3b
    IF OLD.roles <> NEW.roles THEN changed := changed || ''roles''::text\x3b END IF\x3b
    IF OLD.password_version <> NEW.password_version THEN changed := changed || ''password''::text\x3b END IF\x3b
    IF (OLD.disabled_at IS NULL) <> (NEW.disabled_at IS NULL) THEN changed := changed || ''disabled''::text\x3b END IF\x3b
    IF OLD.delete_after IS DISTINCT FROM NEW.delete_after THEN changed := changed || ''deleteAfter''::text\x3b END IF\x3b
    PERFORM auth.queue_webhook(''user.changed'', NEW.id, person || jsonb_build_object(''changed'', changed))\x3b
    RETURN NULL\x3b
  END';
CREATE TRIGGER "users_webhooks" AFTER INSERT ON "auth"."users"
  FOR EACH ROW EXECUTE FUNCTION "auth"."queue_webhook_of_user"();
-- At the end of the transaction: after what goes with them, by the foreign keys.
CREATE CONSTRAINT TRIGGER "users_webhooks_deleted" AFTER DELETE ON "auth"."users" DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW EXECUTE FUNCTION "auth"."queue_webhook_of_user"();
CREATE TRIGGER "users_webhooks_changed"
  AFTER UPDATE OF "email", "name", "roles", "password_version", "disabled_at", "delete_after" ON "auth"."users" FOR EACH ROW
  WHEN ((OLD."email", OLD."name", OLD."roles", OLD."password_version", OLD."disabled_at" IS NULL, OLD."delete_after")
    IS DISTINCT FROM
    (NEW."email", NEW."name", NEW."roles", NEW."password_version", NEW."disabled_at" IS NULL, NEW."delete_after"))
  EXECUTE FUNCTION "auth"."queue_webhook_of_user"();
