-- Which processes run, as they say themselves every few seconds. Unlogged: what a crash of the server takes is written
-- again at once, and no write-ahead log is spent on it.
CREATE UNLOGGED TABLE "auth"."replicas" (
    "id" UUID NOT NULL,
    "kind" TEXT NOT NULL,
    "version" TEXT NOT NULL,
    "started_at" TIMESTAMPTZ(3) NOT NULL,
    "seen_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "state" JSONB NOT NULL,

    CONSTRAINT "replicas_pkey" PRIMARY KEY ("id")
);
