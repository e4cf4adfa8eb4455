-- What service accounts did, newest first. An index on a table to which every login adds: logins wait while it is made. Where
-- there are tens of millions of rows, make it before, by the same name, with CREATE INDEX CONCURRENTLY (docs/operations.md).
CREATE INDEX IF NOT EXISTS "security_events_client_id_at_idx" ON "auth"."security_events"("client_id", "at") WHERE "client_id" IS NOT NULL;
