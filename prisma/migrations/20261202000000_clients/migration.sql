-- The version before this one goes on while this runs: what it inserts and reads stays as it was. No table that is in use is
-- locked here, nor more than one in each of the migrations that follow: whoever holds one of them and waits for another
-- would wait for whoever does so the other way round. A foreign key on sessions would also keep whoever has to end them all
-- at once from truncating them.
-- (The engine cuts a script at every semicolon, so that those of a function's body are written as their code.)

CREATE TABLE "auth"."clients" (
    "id" UUID NOT NULL,
    "name" TEXT NOT NULL,
    "roles" TEXT[],
    "scopes" TEXT[],
    "audiences" TEXT[],
    "changed_at" TIMESTAMPTZ(3),
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "clients_pkey" PRIMARY KEY ("id")
);

CREATE TABLE "auth"."client_credentials" (
    "id" UUID NOT NULL,
    "client_id" UUID NOT NULL,
    "kind" TEXT NOT NULL,
    "name" TEXT NOT NULL,
    "secret_hash" BYTEA,
    "jwks" JSONB,
    "jwks_uri" TEXT,
    "expires_at" TIMESTAMPTZ(3),
    "last_used_at" TIMESTAMPTZ(3),
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "client_credentials_pkey" PRIMARY KEY ("id")
);
CREATE INDEX "client_credentials_client_id_idx" ON "auth"."client_credentials"("client_id");

CREATE TABLE "auth"."client_exchanges" (
    "id" UUID NOT NULL,
    "client_id" UUID NOT NULL,
    "from" TEXT NOT NULL,
    "audience" TEXT NOT NULL,
    "roles" TEXT[],
    "scopes" TEXT[],
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "client_exchanges_pkey" PRIMARY KEY ("id")
);
CREATE UNIQUE INDEX "client_exchanges_client_id_from_audience_key" ON "auth"."client_exchanges"("client_id", "from", "audience");

CREATE TABLE "auth"."client_assertions" (
    "client_id" UUID NOT NULL,
    "jti_hash" BYTEA NOT NULL,
    "expires_at" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "client_assertions_pkey" PRIMARY KEY ("client_id", "jti_hash")
);
CREATE INDEX "client_assertions_expires_at_idx" ON "auth"."client_assertions"("expires_at");

CREATE TABLE "auth"."impersonations" (
    "session_id" UUID NOT NULL,
    "actor_id" UUID NOT NULL,
    "actor_session_id" UUID NOT NULL,
    "reason" TEXT NOT NULL,

    CONSTRAINT "impersonations_pkey" PRIMARY KEY ("session_id")
);
CREATE INDEX "impersonations_actor_id_idx" ON "auth"."impersonations"("actor_id");
CREATE INDEX "impersonations_actor_session_id_idx" ON "auth"."impersonations"("actor_session_id");

CREATE TABLE "auth"."revocations" (
    "id" UUID NOT NULL,
    "reason" TEXT NOT NULL,
    "at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "revocations_pkey" PRIMARY KEY ("id")
);
CREATE INDEX "revocations_at_idx" ON "auth"."revocations"("at");

ALTER TABLE "auth"."client_credentials" ADD CONSTRAINT "client_credentials_client_id_fkey" FOREIGN KEY ("client_id") REFERENCES "auth"."clients"("id") ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE "auth"."client_exchanges" ADD CONSTRAINT "client_exchanges_client_id_fkey" FOREIGN KEY ("client_id") REFERENCES "auth"."clients"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- What ends a token of a service account is announced in the same commit, whether a service did it or a hand at the
-- database: a credential or an exchange that is gone, one token, other roles, scopes or audiences.

CREATE FUNCTION "auth"."announce_revocation"() RETURNS trigger
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS
  E'BEGIN
    PERFORM pg_notify(''sallyport_revocations'', json_build_object(
      ''session'', NEW.id, ''reason'', NEW.reason, ''at'', extract(epoch FROM NEW.at))::text)\x3b
    RETURN NULL\x3b
  END';
CREATE TRIGGER "revocations_announce" AFTER INSERT ON "auth"."revocations"
  FOR EACH ROW EXECUTE FUNCTION "auth"."announce_revocation"();

CREATE FUNCTION "auth"."revoke_deleted"() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
  E'BEGIN
    IF TG_OP = ''DELETE'' THEN
      INSERT INTO auth.revocations (id, reason) VALUES (OLD.id, TG_ARGV[0]) ON CONFLICT DO NOTHING\x3b
    ELSE
      EXECUTE format(''INSERT INTO auth.revocations (id, reason) SELECT id, %L FROM auth.%I ON CONFLICT DO NOTHING'',
        TG_ARGV[0], TG_TABLE_NAME)\x3b
    END IF\x3b
    RETURN NULL\x3b
  END';
CREATE TRIGGER "client_credentials_revoke" AFTER DELETE ON "auth"."client_credentials"
  FOR EACH ROW EXECUTE FUNCTION "auth"."revoke_deleted"('credential_revoked');
CREATE TRIGGER "client_credentials_revoke_all" BEFORE TRUNCATE ON "auth"."client_credentials"
  FOR EACH STATEMENT EXECUTE FUNCTION "auth"."revoke_deleted"('credential_revoked');
CREATE TRIGGER "client_exchanges_revoke" AFTER DELETE ON "auth"."client_exchanges"
  FOR EACH ROW EXECUTE FUNCTION "auth"."revoke_deleted"('exchange_revoked');
CREATE TRIGGER "client_exchanges_revoke_all" BEFORE TRUNCATE ON "auth"."client_exchanges"
  FOR EACH STATEMENT EXECUTE FUNCTION "auth"."revoke_deleted"('exchange_revoked');

CREATE FUNCTION "auth"."announce_client"() RETURNS trigger
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS
  E'BEGIN
    NEW.changed_at := now()\x3b
    PERFORM pg_notify(''sallyport_revocations'', json_build_object(
      ''user'', ''client:'' || NEW.id, ''roles'', NEW.roles, ''scopes'', NEW.scopes, ''audiences'', NEW.audiences,
      ''at'', extract(epoch FROM now()))::text)\x3b
    RETURN NEW\x3b
  END';
CREATE TRIGGER "clients_announce" BEFORE UPDATE OF "roles", "scopes", "audiences" ON "auth"."clients" FOR EACH ROW
  WHEN ((OLD."roles", OLD."scopes", OLD."audiences") IS DISTINCT FROM (NEW."roles", NEW."scopes", NEW."audiences"))
  EXECUTE FUNCTION "auth"."announce_client"();

-- As before, and of why somebody signed in as the person, which is in words, stays who it was: `by` and the id.

CREATE OR REPLACE FUNCTION "auth"."erase_user"("erased" UUID) RETURNS boolean
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
    UPDATE auth.security_events SET reason = right(reason, 39)
      WHERE user_id = erased AND event = ''impersonation_started'' AND length(reason) > 39\x3b
    UPDATE auth.security_events SET ip = NULL
      WHERE length(reason) > 36 AND right(reason, 36) = erased::text AND ip IS NOT NULL\x3b
    INSERT INTO auth.security_events (event, user_id) VALUES (''user_erased'', erased)\x3b
    PERFORM pg_notify(''sallyport_revocations'', json_build_object(
      ''erased'', erased, ''at'', extract(epoch FROM now()))::text)\x3b
    RETURN true\x3b
  END';
