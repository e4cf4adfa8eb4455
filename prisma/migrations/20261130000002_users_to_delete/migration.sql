CREATE INDEX IF NOT EXISTS "users_delete_after_idx" ON "auth"."users"("delete_after") WHERE "delete_after" IS NOT NULL;
