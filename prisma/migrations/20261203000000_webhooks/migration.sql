-- The version before this one goes on while this runs: what it inserts and reads stays as it was. No table that is in use is
-- locked here, and one in each of the migrations that follow.
-- (The engine cuts a script at every semicolon, so that those of a function's body are written as their code.)

CREATE TABLE "auth"."webhooks" (
    "id" UUID NOT NULL,
    "name" TEXT NOT NULL,
    "url" TEXT NOT NULL,
    "events" TEXT[],
    "enabled" BOOLEAN NOT NULL DEFAULT true,
    "disabled_reason" TEXT,
    "failing_since" TIMESTAMPTZ(3),
    "resumes_at" TIMESTAMPTZ(3),
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "webhooks_pkey" PRIMARY KEY ("id")
);

CREATE TABLE "auth"."webhook_secrets" (
    "id" UUID NOT NULL,
    "webhook_id" UUID NOT NULL,
    "secret" TEXT NOT NULL,
    "key_id" TEXT NOT NULL,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "expires_at" TIMESTAMPTZ(3),

    CONSTRAINT "webhook_secrets_pkey" PRIMARY KEY ("id")
);
CREATE INDEX "webhook_secrets_webhook_id_idx" ON "auth"."webhook_secrets"("webhook_id");
CREATE INDEX "webhook_secrets_key_id_idx" ON "auth"."webhook_secrets"("key_id");

CREATE TABLE "auth"."webhook_events" (
    "id" UUID NOT NULL DEFAULT gen_random_uuid(),
    "type" TEXT NOT NULL,
    "subject" UUID,
    "at" TIMESTAMPTZ(3) NOT NULL DEFAULT clock_timestamp(),
    "data" JSONB NOT NULL,

    CONSTRAINT "webhook_events_pkey" PRIMARY KEY ("id")
);
CREATE INDEX "webhook_events_subject_idx" ON "auth"."webhook_events"("subject");
CREATE INDEX "webhook_events_at_idx" ON "auth"."webhook_events"("at");

CREATE TABLE "auth"."webhook_deliveries" (
    "id" BIGINT GENERATED ALWAYS AS IDENTITY NOT NULL,
    "webhook_id" UUID NOT NULL,
    "event_id" UUID NOT NULL,
    "subject" UUID,
    "state" TEXT NOT NULL DEFAULT 'pending',
    "attempts" INTEGER NOT NULL DEFAULT 0,
    "queued_at" TIMESTAMPTZ(3) NOT NULL DEFAULT clock_timestamp(),
    "next_at" TIMESTAMPTZ(3) NOT NULL DEFAULT clock_timestamp(),
    "settled_at" TIMESTAMPTZ(3),
    "status" INTEGER,
    "error" TEXT,

    CONSTRAINT "webhook_deliveries_pkey" PRIMARY KEY ("id")
);
CREATE INDEX "webhook_deliveries_webhook_id_id_idx" ON "auth"."webhook_deliveries"("webhook_id", "id");
CREATE INDEX "webhook_deliveries_event_id_idx" ON "auth"."webhook_deliveries"("event_id");
CREATE INDEX "webhook_deliveries_due_idx" ON "auth"."webhook_deliveries"("webhook_id", "next_at") WHERE "state" = 'pending';
CREATE INDEX "webhook_deliveries_dead_idx" ON "auth"."webhook_deliveries"("webhook_id", "id") WHERE "state" = 'dead';
CREATE INDEX "webhook_deliveries_order_idx" ON "auth"."webhook_deliveries"("webhook_id", "subject", "id") WHERE "state" = 'pending';

ALTER TABLE "auth"."webhook_secrets" ADD CONSTRAINT "webhook_secrets_webhook_id_fkey" FOREIGN KEY ("webhook_id") REFERENCES "auth"."webhooks"("id") ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE "auth"."webhook_deliveries" ADD CONSTRAINT "webhook_deliveries_webhook_id_fkey" FOREIGN KEY ("webhook_id") REFERENCES "auth"."webhooks"("id") ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE "auth"."webhook_deliveries" ADD CONSTRAINT "webhook_deliveries_event_id_fkey" FOREIGN KEY ("event_id") REFERENCES "auth"."webhook_events"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- Queues an event for every webhook that wants it, in the transaction that causes it: there is never one without the other.
-- What was committed before something else began has the smaller id, so that the order of ids is the order of what a person's
-- events depend on. A webhook that is being deleted is waited for, and then left out: nobody's change fails for it.
CREATE FUNCTION "auth"."queue_webhook"("wanted" TEXT, "about" UUID, "content" JSONB) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
  E'BEGIN
    IF NOT EXISTS (SELECT FROM auth.webhooks WHERE enabled AND wanted = ANY (events)) THEN RETURN\x3b END IF\x3b
    WITH event AS (
      INSERT INTO auth.webhook_events (type, subject, data) VALUES (wanted, about, content) RETURNING id
    )
    INSERT INTO auth.webhook_deliveries (webhook_id, event_id, subject)
      SELECT w.id, event.id, about FROM event, auth.webhooks w WHERE w.enabled AND wanted = ANY (w.events)
      FOR KEY SHARE OF w\x3b
  END';
REVOKE EXECUTE ON FUNCTION "auth"."queue_webhook" FROM PUBLIC;
