-- (The engine cuts a script at every semicolon, so that those of a function's body are written as their code.)

CREATE FUNCTION "auth"."queue_webhook_of_credential"() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
  E'BEGIN
    IF TG_OP = ''INSERT'' THEN
      PERFORM auth.queue_webhook(''client.credential_added'', NEW.client_id, jsonb_build_object(
        ''client'', NEW.client_id, ''credential'', NEW.id, ''kind'', NEW.kind))\x3b
    ELSE
      PERFORM auth.queue_webhook(''client.credential_revoked'', OLD.client_id, jsonb_build_object(
        ''client'', OLD.client_id, ''credential'', OLD.id, ''kind'', OLD.kind))\x3b
    END IF\x3b
    RETURN NULL\x3b
  END';
CREATE TRIGGER "client_credentials_webhooks" AFTER INSERT OR DELETE ON "auth"."client_credentials"
  FOR EACH ROW EXECUTE FUNCTION "auth"."queue_webhook_of_credential"();
