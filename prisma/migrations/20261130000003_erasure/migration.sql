-- Indexes on a table to which every login adds: logins wait while they are made. Where there are tens of millions of
-- rows, make them before, by the same names, with CREATE INDEX CONCURRENTLY (docs/operations.md).

CREATE INDEX IF NOT EXISTS "security_events_at_idx" ON "auth"."security_events"("at");
CREATE INDEX IF NOT EXISTS "security_events_user_erased_idx" ON "auth"."security_events"("at") WHERE "event" = 'user_erased';
-- Who did it, where somebody else than the user: the id at the end of the reason.
CREATE INDEX IF NOT EXISTS "security_events_by_idx" ON "auth"."security_events"(right("reason", 36)) WHERE length("reason") > 36;

-- Security events: what was written stays written, but for two functions below, which run as the owner. A service can
-- call them and nothing more: it has no right to update or delete rows.
-- (The engine cuts a script at every semicolon, so that those of a function's body are written as their code.)
CREATE OR REPLACE FUNCTION "auth"."refuse_to_rewrite"() RETURNS trigger LANGUAGE plpgsql AS
  E'BEGIN
    IF TG_OP = current_setting(''sallyport.rewriting'', true) THEN RETURN NULL\x3b END IF\x3b
    RAISE EXCEPTION ''security events are append-only'' USING ERRCODE = ''insufficient_privilege''\x3b
  END';

-- Takes a person out of the system, once the time for it has come: with the row go sessions and tickets, by foreign keys.
-- Security events stay, with the id and without what else is known of the person, also those of what the person did to
-- others.
CREATE FUNCTION "auth"."erase_user"("erased" UUID) RETURNS boolean
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET "sallyport.rewriting" = 'UPDATE' AS
  E'DECLARE address text\x3b
  BEGIN
    SELECT email INTO address FROM auth.users WHERE id = erased AND delete_after <= now() FOR UPDATE\x3b
    IF NOT FOUND THEN RETURN false\x3b END IF\x3b
    DELETE FROM graphile_worker._private_jobs WHERE payload->>''user'' = erased::text
      OR address IN (payload->>''to'', payload->>''email'', payload->>''newEmail'')\x3b
    DELETE FROM auth.tickets WHERE email = address OR user_id IS NULL AND email IN (
      SELECT email FROM auth.tickets WHERE user_id = erased AND purpose = ''email_revert''
      EXCEPT SELECT email FROM auth.users)\x3b
    DELETE FROM auth.password_failures WHERE person = erased::text\x3b
    DELETE FROM auth.users WHERE id = erased\x3b
    UPDATE auth.security_events SET ip = NULL WHERE user_id = erased AND ip IS NOT NULL\x3b
    UPDATE auth.security_events SET ip = NULL
      WHERE length(reason) > 36 AND right(reason, 36) = erased::text AND ip IS NOT NULL\x3b
    INSERT INTO auth.security_events (event, user_id) VALUES (''user_erased'', erased)\x3b
    PERFORM pg_notify(''sallyport_revocations'', json_build_object(
      ''erased'', erased, ''at'', extract(epoch FROM now()))::text)\x3b
    RETURN true\x3b
  END';
REVOKE EXECUTE ON FUNCTION "auth"."erase_user" FROM PUBLIC;

-- Forgets events that are older than they are to be kept. None of the last 90 days, so that a service that was taken over
-- cannot have its traces removed.
CREATE FUNCTION "auth"."forget_security_events"("older_than" INTERVAL, "most" INTEGER) RETURNS integer
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET "sallyport.rewriting" = 'DELETE' AS
  E'DECLARE forgotten integer\x3b
  BEGIN
    DELETE FROM auth.security_events WHERE id IN (
      SELECT id FROM auth.security_events WHERE at < now() - greatest(older_than, interval ''90 days'')
      ORDER BY id LIMIT most)\x3b
    GET DIAGNOSTICS forgotten = ROW_COUNT\x3b
    RETURN forgotten\x3b
  END';
REVOKE EXECUTE ON FUNCTION "auth"."forget_security_events" FROM PUBLIC;
