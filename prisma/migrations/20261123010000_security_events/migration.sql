-- CreateTable
CREATE TABLE "auth"."security_events" (
    "id" BIGINT GENERATED ALWAYS AS IDENTITY,
    "at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "event" TEXT NOT NULL,
    "user_id" UUID,
    "session_id" UUID,
    "ip" TEXT,
    "reason" TEXT,

    CONSTRAINT "security_events_pkey" PRIMARY KEY ("id")
);

-- CreateIndex
CREATE INDEX "security_events_user_id_at_idx" ON "auth"."security_events"("user_id", "at");

-- What was written stays written, whoever asks: an owner who must remove rows disables the trigger first, which shows.
-- (The engine cuts a script at every semicolon, so that of the function's body is written as its code.)
CREATE FUNCTION "auth"."refuse_to_rewrite"() RETURNS trigger LANGUAGE plpgsql AS
  E'BEGIN RAISE EXCEPTION ''security events are append-only'' USING ERRCODE = ''insufficient_privilege''\x3b END';
CREATE TRIGGER "security_events_are_append_only" BEFORE UPDATE OR DELETE OR TRUNCATE ON "auth"."security_events"
  FOR EACH STATEMENT EXECUTE FUNCTION "auth"."refuse_to_rewrite"();

-- Ended sessions are few and forgotten after a day: what a gateway asks for when it connects is found without a scan.
CREATE INDEX "sessions_revoked_at_idx" ON "auth"."sessions"("revoked_at") WHERE "revoked_at" IS NOT NULL;
CREATE INDEX "users_roles_changed_at_idx" ON "auth"."users"("roles_changed_at") WHERE "roles_changed_at" IS NOT NULL;
