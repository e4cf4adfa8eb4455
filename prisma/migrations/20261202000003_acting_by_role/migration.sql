-- Nor does anybody act as somebody else for longer than their roles stay.
-- (The engine cuts a script at every semicolon, so that those of a function's body are written as their code.)

CREATE FUNCTION "auth"."end_acting_of"() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
  E'BEGIN
    UPDATE auth.sessions SET revoked_at = now(), revoked_reason = ''actor_ended''
      WHERE revoked_at IS NULL AND id IN (SELECT session_id FROM auth.impersonations WHERE actor_id = NEW.id)\x3b
    RETURN NULL\x3b
  END';
CREATE TRIGGER "users_end_acting" AFTER UPDATE OF "roles" ON "auth"."users" FOR EACH ROW
  WHEN (OLD."roles" IS DISTINCT FROM NEW."roles") EXECUTE FUNCTION "auth"."end_acting_of"();
