-- (The engine cuts a script at every semicolon, so that those of a function's body are written as their code.)

CREATE FUNCTION "auth"."queue_webhook_of_client"() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
  E'DECLARE changed text[] := ''{}''\x3b client jsonb\x3b
  BEGIN
    IF TG_OP = ''DELETE'' THEN
      PERFORM auth.queue_webhook(''client.deleted'', OLD.id, jsonb_build_object(''client'', OLD.id))\x3b
      RETURN NULL\x3b
    END IF\x3b
    client := jsonb_build_object(''client'', NEW.id, ''name'', NEW.name, ''roles'', NEW.roles, ''scopes'', NEW.scopes,
      ''audiences'', NEW.audiences)\x3b
    IF TG_OP = ''INSERT'' THEN
      PERFORM auth.queue_webhook(''client.created'', NEW.id, client)\x3b
      RETURN NULL\x3b
    END IF\x3b
    IF OLD.name <> NEW.name THEN changed := changed || ''name''::text\x3b END IF\x3b
    IF OLD.roles <> NEW.roles THEN changed := changed || ''roles''::text\x3b END IF\x3b
    IF OLD.scopes <> NEW.scopes THEN changed := changed || ''scopes''::text\x3b END IF\x3b
    IF OLD.audiences <> NEW.audiences THEN changed := changed || ''audiences''::text\x3b END IF\x3b
    PERFORM auth.queue_webhook(''client.changed'', NEW.id, client || jsonb_build_object(''changed'', changed))\x3b
    RETURN NULL\x3b
  END';
CREATE TRIGGER "clients_webhooks" AFTER INSERT ON "auth"."clients"
  FOR EACH ROW EXECUTE FUNCTION "auth"."queue_webhook_of_client"();
-- At the end of the transaction: after what goes with it, by the foreign keys.
CREATE CONSTRAINT TRIGGER "clients_webhooks_deleted" AFTER DELETE ON "auth"."clients" DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW EXECUTE FUNCTION "auth"."queue_webhook_of_client"();
CREATE TRIGGER "clients_webhooks_changed" AFTER UPDATE OF "name", "roles", "scopes", "audiences" ON "auth"."clients" FOR EACH ROW
  WHEN ((OLD."name", OLD."roles", OLD."scopes", OLD."audiences") IS DISTINCT FROM
    (NEW."name", NEW."roles", NEW."scopes", NEW."audiences"))
  EXECUTE FUNCTION "auth"."queue_webhook_of_client"();
