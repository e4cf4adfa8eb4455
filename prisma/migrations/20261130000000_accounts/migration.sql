-- The version before this one goes on while this runs: what it inserts and reads stays as it was. Each migration is a
-- transaction. This one locks one table that is in use, and for no longer than it takes to add columns without a value:
-- a second one, or an index, would have statements that use both wait for each other.

ALTER TABLE "auth"."users" ADD COLUMN "locale" TEXT, ADD COLUMN "delete_after" TIMESTAMPTZ(3),
  ADD COLUMN "delete_asked_by" UUID;

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
    "withdrawn" BOOLEAN NOT NULL DEFAULT false,

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
