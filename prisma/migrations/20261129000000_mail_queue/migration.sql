-- graphile-worker makes the tables of its queue itself, ahead of this migration (migrate.ts). A service of this version
-- waits for the newest migration, and so for them.
COMMENT ON SCHEMA "graphile_worker" IS 'The queue of mails';
