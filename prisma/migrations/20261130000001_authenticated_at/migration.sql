-- Added without its default, which would say of every session that somebody has just signed in.
ALTER TABLE "auth"."sessions" ADD COLUMN "authenticated_at" TIMESTAMPTZ(3);
ALTER TABLE "auth"."sessions" ALTER COLUMN "authenticated_at" SET DEFAULT CURRENT_TIMESTAMP;
