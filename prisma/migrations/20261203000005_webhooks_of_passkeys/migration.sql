CREATE TRIGGER "passkeys_webhooks" AFTER INSERT OR DELETE ON "auth"."passkeys"
  FOR EACH ROW EXECUTE FUNCTION "auth"."queue_webhook_of_factor"('passkey');
