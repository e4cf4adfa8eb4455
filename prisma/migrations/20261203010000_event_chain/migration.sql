-- Security events are chained: each entry has a position and the SHA-256 of the entry before it together with the event, so
-- that an event that is changed, removed or added afterwards shows (docs/audit.md). Whoever adds an event does nothing
-- for it and waits for nobody: events are chained once they are committed, by a function that one process at a time runs.
-- The table of events gets a trigger and a constraint, for which it is locked for a moment. What happened before this is
-- chained bit by bit as well.
-- (The engine cuts a script at every semicolon, so that those of a function's body are written as their code.)

-- What can be erased of an event (the IP address, and the words in which somebody said why they signed in as the person)
-- is in the hash as a digest with a salt. With the salt gone, the digest proves nothing about what it was made of.
CREATE TABLE "auth"."event_chain" (
    "position" BIGINT NOT NULL,
    "event_id" BIGINT NOT NULL,
    "hash" BYTEA NOT NULL,
    "ip_salt" BYTEA,
    "ip_digest" BYTEA,
    "words_salt" BYTEA,
    "words_digest" BYTEA,

    CONSTRAINT "event_chain_pkey" PRIMARY KEY ("position")
);
CREATE UNIQUE INDEX "event_chain_event_id_key" ON "auth"."event_chain"("event_id");
CREATE TRIGGER "event_chain_is_append_only" BEFORE UPDATE OR DELETE OR TRUNCATE ON "auth"."event_chain"
  FOR EACH STATEMENT EXECUTE FUNCTION "auth"."refuse_to_rewrite"();

-- Where the chain starts (after what was forgotten) and ends. Up to the id `complete_to` every event is chained that ever
-- will be there. Up to the id `barrier` that will be so once those have ended who were adding events when it was set.
CREATE TABLE "auth"."event_chain_state" (
    "only" BOOLEAN NOT NULL DEFAULT true,
    "start_position" BIGINT NOT NULL DEFAULT 0,
    "start_hash" BYTEA NOT NULL,
    "position" BIGINT NOT NULL DEFAULT 0,
    "hash" BYTEA NOT NULL,
    "complete_to" BIGINT NOT NULL DEFAULT 0,
    "barrier" BIGINT,
    "writers" TEXT[] NOT NULL DEFAULT '{}',

    CONSTRAINT "event_chain_state_pkey" PRIMARY KEY ("only"),
    CONSTRAINT "event_chain_state_only_check" CHECK ("only")
);
INSERT INTO "auth"."event_chain_state" ("start_hash", "hash")
  VALUES (decode(repeat('00', 32), 'hex'), decode(repeat('00', 32), 'hex'));

-- How far each AUDIT_LOG has been written, and which process writes to it.
CREATE TABLE "auth"."audit_exports" (
    "sink" TEXT NOT NULL,
    "position" BIGINT NOT NULL,
    "holder" UUID,
    "held_until" TIMESTAMPTZ(3),

    CONSTRAINT "audit_exports_pkey" PRIMARY KEY ("sink")
);

-- Who has added an event and not ended, or is about to: the lock on the table is taken before the event gets its id, and is
-- held until the end. A snapshot would not do, as it knows nobody who has an id for the event and no transaction id yet.
CREATE FUNCTION "auth"."writers_of_security_events"() RETURNS text[]
  LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS
  'SELECT coalesce(array_agg(virtualtransaction), ''{}'') FROM pg_locks
   WHERE relation = ''auth.security_events''::regclass AND mode = ''RowExclusiveLock''
     AND database = (SELECT oid FROM pg_database WHERE datname = current_database())';

-- Chains what is committed and not chained yet, and returns how many events that were: null if somebody else does so now.
-- Statements see what was committed before they began: so an event that is committed late, with an id that is lower than
-- those of others, is chained late. The joins that are off would read all of the chain, whatever is asked for of it.
CREATE FUNCTION "auth"."seal_security_events"("most" INTEGER) RETURNS integer
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  SET enable_hashjoin = off SET enable_seqscan = off AS
  E'DECLARE
    state auth.event_chain_state\x3b
    was auth.event_chain_state\x3b
    happened auth.security_events\x3b
    ip_salt bytea\x3b
    words text\x3b
    words_salt bytea\x3b
    settled boolean\x3b
    newest bigint\x3b
    sealed integer := 0\x3b
  BEGIN
    IF NOT pg_try_advisory_xact_lock(5001, 7260) THEN RETURN NULL\x3b END IF\x3b
    SELECT * INTO STRICT state FROM auth.event_chain_state\x3b
    was := state\x3b
    settled := state.barrier IS NOT NULL AND NOT state.writers && auth.writers_of_security_events()\x3b
    FOR happened IN
      SELECT * FROM auth.security_events e WHERE e.id > state.complete_to AND NOT EXISTS (
        SELECT FROM auth.event_chain c WHERE c.event_id = e.id AND c.event_id > state.complete_to)
      ORDER BY e.id LIMIT most
    LOOP
      words := CASE WHEN happened.event = ''impersonation_started'' AND length(happened.reason) > 39
        THEN left(happened.reason, -39) END\x3b
      ip_salt := CASE WHEN happened.ip IS NOT NULL THEN uuid_send(gen_random_uuid()) END\x3b
      words_salt := CASE WHEN words IS NOT NULL THEN uuid_send(gen_random_uuid()) END\x3b
      state.position := state.position + 1\x3b
      state.hash := sha256(state.hash || convert_to(json_build_array(
        state.position, happened.id, to_char(happened.at AT TIME ZONE ''UTC'', ''YYYY-MM-DD"T"HH24:MI:SS.MS"Z"''),
        happened.event, happened.user_id, happened.session_id, happened.client_id, happened.act,
        CASE WHEN words IS NULL THEN happened.reason ELSE right(happened.reason, 39) END,
        encode(sha256(ip_salt || convert_to(happened.ip, ''UTF8'')), ''hex''),
        encode(sha256(words_salt || convert_to(words, ''UTF8'')), ''hex''))::text, ''UTF8''))\x3b
      INSERT INTO auth.event_chain (position, event_id, hash, ip_salt, words_salt)
        VALUES (state.position, happened.id, state.hash, ip_salt, words_salt)\x3b
      sealed := sealed + 1\x3b
    END LOOP\x3b
    IF settled THEN
      state.complete_to := CASE WHEN sealed < most THEN state.barrier ELSE least(happened.id, state.barrier) END\x3b
      IF state.complete_to = state.barrier THEN state.barrier := NULL\x3b END IF\x3b
    END IF\x3b
    IF state.barrier IS NULL THEN
      SELECT max(id) INTO newest FROM auth.security_events WHERE id > state.complete_to\x3b
      state.barrier := newest\x3b
      state.writers := CASE WHEN newest IS NULL THEN ''{}'' ELSE auth.writers_of_security_events() END\x3b
    END IF\x3b
    IF state IS DISTINCT FROM was THEN
      UPDATE auth.event_chain_state SET position = state.position, hash = state.hash,
        complete_to = state.complete_to, barrier = state.barrier, writers = state.writers\x3b
    END IF\x3b
    RETURN sealed\x3b
  END';
REVOKE EXECUTE ON FUNCTION "auth"."seal_security_events" FROM PUBLIC;

-- As before, and not while events are being chained.
CREATE OR REPLACE FUNCTION "auth"."refuse_to_rewrite"() RETURNS trigger LANGUAGE plpgsql AS
  E'BEGIN
    IF TG_OP = current_setting(''sallyport.rewriting'', true) THEN
      PERFORM pg_advisory_xact_lock(5001, 7260)\x3b
      RETURN NULL\x3b
    END IF\x3b
    RAISE EXCEPTION ''security events are append-only'' USING ERRCODE = ''insufficient_privilege''\x3b
  END';

-- Who acted has no number in it: of 1.50 a reader of JSON makes 1.5, and another hash. What is there is not looked
-- through.
ALTER TABLE "auth"."security_events" ADD CONSTRAINT "security_events_act_check"
  CHECK (NOT jsonb_path_exists("act", '$.** ? (@.type() == "number")')) NOT VALID;

-- What is taken out of an event leaves its digest in the chain, and no salt.
CREATE FUNCTION "auth"."erase_from_chain"() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
  E'BEGIN
    UPDATE auth.event_chain SET
      ip_digest = coalesce(ip_digest, CASE WHEN NEW.ip IS NULL THEN sha256(ip_salt || convert_to(OLD.ip, ''UTF8'')) END),
      ip_salt = CASE WHEN NEW.ip IS NOT NULL THEN ip_salt END,
      words_digest = coalesce(words_digest,
        CASE WHEN length(NEW.reason) <= 39 THEN sha256(words_salt || convert_to(left(OLD.reason, -39), ''UTF8'')) END),
      words_salt = CASE WHEN length(NEW.reason) > 39 THEN words_salt END
      WHERE event_id = NEW.id\x3b
    RETURN NULL\x3b
  END';
CREATE TRIGGER "security_events_erase_from_chain" AFTER UPDATE ON "auth"."security_events" FOR EACH ROW
  EXECUTE FUNCTION "auth"."erase_from_chain"();

-- Forgets events that are older than they are to be kept, as before none of the last 90 days, and only from the start of the
-- chain: where it starts now is noted, so that what is left can be verified.
CREATE OR REPLACE FUNCTION "auth"."forget_security_events"("older_than" INTERVAL, "most" INTEGER) RETURNS integer
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET "sallyport.rewriting" = 'DELETE' AS
  E'DECLARE
    entry auth.event_chain\x3b
    last auth.event_chain\x3b
    happened timestamptz\x3b
    forgotten integer := 0\x3b
  BEGIN
    PERFORM pg_advisory_xact_lock(5001, 7260)\x3b
    FOR entry IN SELECT * FROM auth.event_chain ORDER BY position LIMIT most LOOP
      SELECT at INTO happened FROM auth.security_events WHERE id = entry.event_id\x3b
      EXIT WHEN happened >= now() - greatest(older_than, interval ''90 days'')\x3b
      last := entry\x3b
      forgotten := forgotten + 1\x3b
    END LOOP\x3b
    IF forgotten = 0 THEN RETURN 0\x3b END IF\x3b
    DELETE FROM auth.security_events WHERE id IN (
      SELECT event_id FROM auth.event_chain WHERE position <= last.position)\x3b
    DELETE FROM auth.event_chain WHERE position <= last.position\x3b
    UPDATE auth.event_chain_state SET start_position = last.position, start_hash = last.hash\x3b
    RETURN forgotten\x3b
  END';
