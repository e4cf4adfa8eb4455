-- Codes are made and taken away several at a time, and used one at a time: that is one event, with how many are left.
-- (The engine cuts a script at every semicolon, so that those of a function's body are written as their code.)

CREATE FUNCTION "auth"."queue_webhook_of_codes"() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
  E'BEGIN
    PERFORM auth.queue_webhook(TG_ARGV[0], person, jsonb_build_object(''user'', person, ''factor'', ''recovery_codes'',
        ''left'', (SELECT count(*) FROM auth.recovery_codes WHERE user_id = person)))
      FROM (SELECT DISTINCT user_id AS person FROM touched) AS people\x3b
    RETURN NULL\x3b
  END';
CREATE TRIGGER "recovery_codes_webhooks_added" AFTER INSERT ON "auth"."recovery_codes" REFERENCING NEW TABLE AS touched
  FOR EACH STATEMENT EXECUTE FUNCTION "auth"."queue_webhook_of_codes"('factor.added');
CREATE TRIGGER "recovery_codes_webhooks_removed" AFTER DELETE ON "auth"."recovery_codes" REFERENCING OLD TABLE AS touched
  FOR EACH STATEMENT EXECUTE FUNCTION "auth"."queue_webhook_of_codes"('factor.removed');
