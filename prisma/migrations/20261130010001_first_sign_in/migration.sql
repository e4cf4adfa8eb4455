-- Whether somebody has signed in before, since devices are known: events from before that have no reason.
CREATE INDEX IF NOT EXISTS "security_events_login_succeeded_idx" ON "auth"."security_events"("user_id")
  WHERE "event" = 'login_succeeded' AND "reason" IS NOT NULL;
