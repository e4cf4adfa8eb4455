-- (The engine cuts a script at every semicolon, so that those of a function's body are written as their code.)

CREATE FUNCTION "auth"."queue_webhook_of_exchange"() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
  E'BEGIN
    IF TG_OP = ''INSERT'' THEN
      PERFORM auth.queue_webhook(''client.exchange_added'', NEW.client_id, jsonb_build_object(
        ''client'', NEW.client_id, ''exchange'', NEW.id, ''from'', NEW."from", ''audience'', NEW.audience))\x3b
    ELSE
      PERFORM auth.queue_webhook(''client.exchange_removed'', OLD.client_id, jsonb_build_object(
        ''client'', OLD.client_id, ''exchange'', OLD.id, ''from'', OLD."from", ''audience'', OLD.audience))\x3b
    END IF\x3b
    RETURN NULL\x3b
  END';
CREATE TRIGGER "client_exchanges_webhooks" AFTER INSERT OR DELETE ON "auth"."client_exchanges"
  FOR EACH ROW EXECUTE FUNCTION "auth"."queue_webhook_of_exchange"();
