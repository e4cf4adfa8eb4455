-- The version before this one goes on while this runs: what it inserts and reads stays as it was.
-- (The engine cuts a script at every semicolon, so that those of a function's body are written as their code.)

ALTER TABLE "auth"."users" ADD COLUMN "locale" TEXT, ADD COLUMN "delete_after" TIMESTAMPTZ(3);
CREATE INDEX "users_delete_after_idx" ON "auth"."users"("delete_after") WHERE "delete_after" IS NOT NULL;

-- Added without its default, which would say of every session that somebody has just signed in.
ALTER TABLE "auth"."sessions" ADD COLUMN "authenticated_at" TIMESTAMPTZ(3);
ALTER TABLE "auth"."sessions" ALTER COLUMN "authenticated_at" SET DEFAULT CURRENT_TIMESTAMP;

-- CreateTable
CREATE TABLE "auth"."tickets" (
    "id" UUID NOT NULL,
    "purpose" TEXT NOT NULL,
    "subject" TEXT NOT NULL,
    "email" TEXT NOT NULL,
    "user_id" UUID,
    "roles" TEXT[],
    "invited_by" UUID,
    "secret_hash" BYTEA NOT NULL,
    "code_hash" BYTEA,
    "code_expires_at" TIMESTAMPTZ(3),
    "tries" INTEGER NOT NULL DEFAULT 0,
    "locale" TEXT,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "expires_at" TIMESTAMPTZ(3) NOT NULL,
    "used_at" TIMESTAMPTZ(3),

    CONSTRAINT "tickets_pkey" PRIMARY KEY ("id")
);
CREATE UNIQUE INDEX "tickets_secret_hash_key" ON "auth"."tickets"("secret_hash");
CREATE INDEX "tickets_purpose_subject_created_at_idx" ON "auth"."tickets"("purpose", "subject", "created_at");
CREATE INDEX "tickets_email_idx" ON "auth"."tickets"("email");
CREATE INDEX "tickets_user_id_idx" ON "auth"."tickets"("user_id");
CREATE INDEX "tickets_expires_at_idx" ON "auth"."tickets"("expires_at");
ALTER TABLE "auth"."tickets" ADD CONSTRAINT "tickets_user_id_fkey" FOREIGN KEY ("user_id") REFERENCES "auth"."users"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- One open ticket for a purpose and subject.
CREATE UNIQUE INDEX "tickets_open_key" ON "auth"."tickets"("purpose", "subject") WHERE "used_at" IS NULL;

-- Security events: what was written stays written, but for two functions below, which run as the owner. A service can
-- call them and nothing more: it has no right to update or delete rows.
CREATE OR REPLACE FUNCTION "auth"."refuse_to_rewrite"() RETURNS trigger LANGUAGE plpgsql AS
  E'BEGIN
    IF TG_OP = current_setting(''sallyport.rewriting'', true) THEN RETURN NULL\x3b END IF\x3b
    RAISE EXCEPTION ''security events are append-only'' USING ERRCODE = ''insufficient_privilege''\x3b
  END';

-- Takes a person out of the system, once the time for it has come: with the row go sessions and tickets, by foreign keys.
-- Security events stay, with the id and without what else is known of the person.
CREATE FUNCTION "auth"."erase_user"("erased" UUID) RETURNS boolean
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET "sallyport.rewriting" = 'UPDATE' AS
  E'DECLARE address text\x3b
  BEGIN
    SELECT email INTO address FROM auth.users WHERE id = erased AND delete_after <= now() FOR UPDATE\x3b
    IF NOT FOUND THEN RETURN false\x3b END IF\x3b
    DELETE FROM graphile_worker._private_jobs WHERE payload->>''to'' = address OR payload->>''email'' = address
      OR payload->>''user'' = erased::text\x3b
    DELETE FROM auth.tickets WHERE email = address\x3b
    DELETE FROM auth.users WHERE id = erased\x3b
    UPDATE auth.security_events SET ip = NULL WHERE user_id = erased AND ip IS NOT NULL\x3b
    INSERT INTO auth.security_events (event, user_id) VALUES (''user_erased'', erased)\x3b
    PERFORM pg_notify(''sallyport_revocations'', json_build_object(
      ''erased'', erased, ''at'', extract(epoch FROM now()))::text)\x3b
    RETURN true\x3b
  END';
REVOKE EXECUTE ON FUNCTION "auth"."erase_user" FROM PUBLIC;
CREATE INDEX "security_events_user_erased_idx" ON "auth"."security_events"("at") WHERE "event" = 'user_erased';

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
CREATE INDEX "security_events_at_idx" ON "auth"."security_events"("at");
