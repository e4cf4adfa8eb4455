-- How somebody signed in. Sessions from before this were opened with a password, and so are those that the version before
-- opens while this one is deployed.
ALTER TABLE "auth"."sessions" ADD COLUMN "amr" TEXT[] DEFAULT ARRAY['pwd']::TEXT[];
