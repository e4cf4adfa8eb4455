-- Columns without a default, which changes no row: the lock is held for a moment.
ALTER TABLE "auth"."security_events" ADD COLUMN "client_id" UUID, ADD COLUMN "act" JSONB;
