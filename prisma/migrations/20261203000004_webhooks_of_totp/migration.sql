-- (The engine cuts a script at every semicolon, so that those of a function's body are written as their code.)

-- For authenticator apps and passkeys, which is the argument.
CREATE FUNCTION "auth"."queue_webhook_of_factor"() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
  E'DECLARE person uuid\x3b
  BEGIN
    IF TG_OP = ''INSERT'' THEN person := NEW.user_id\x3b ELSE person := OLD.user_id\x3b END IF\x3b
    PERFORM auth.queue_webhook(CASE TG_OP WHEN ''INSERT'' THEN ''factor.added'' ELSE ''factor.removed'' END, person,
      jsonb_build_object(''user'', person, ''factor'', TG_ARGV[0]))\x3b
    RETURN NULL\x3b
  END';
CREATE TRIGGER "totp_webhooks" AFTER INSERT OR DELETE ON "auth"."totp"
  FOR EACH ROW EXECUTE FUNCTION "auth"."queue_webhook_of_factor"('totp');
