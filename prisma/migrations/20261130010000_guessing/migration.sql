-- The version before this one goes on while this runs: what it inserts and reads stays as it was.

-- What devices are known by (sessions/known-devices.ts): a device is no longer known once the password was changed.
ALTER TABLE "auth"."users" ADD COLUMN "password_version" INTEGER NOT NULL DEFAULT 0;

-- Wrong passwords. Rows have no foreign key to users, since an address without an account has them too, and is to cost
-- the same: erase_user deletes those of a user.
CREATE TABLE "auth"."password_failures" (
    "person" TEXT NOT NULL,
    "device" TEXT NOT NULL,
    "has_account" BOOLEAN NOT NULL,
    "failures" INTEGER NOT NULL,
    "opens_at" TIMESTAMPTZ(3),
    "last_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "password_failures_pkey" PRIMARY KEY ("person", "device")
);
CREATE INDEX "password_failures_last_at_idx" ON "auth"."password_failures"("last_at");
