-- The three roles of a shared database. An administrator runs this once, in the database
-- of the reconciliation, before `recon migrate`; running it again changes nothing.
--
--   recon_owner  owns the tables: runs `recon migrate` and `recon purge`
--   recon_app    runs the pipeline: may add results, and replace stage tables
--   recon_read   reads results, samples and stage
--
-- They have no password yet: ALTER ROLE recon_app PASSWORD '…', or, for tokens of RDS
-- IAM authentication, GRANT rds_iam TO recon_app.

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['recon_owner', 'recon_app', 'recon_read'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
            EXECUTE format('CREATE ROLE %I LOGIN', name);
        END IF;
    END LOOP;
    -- For whoever is no superuser: to give schemas and default privileges away.
    IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
        EXECUTE format('GRANT recon_owner, recon_app TO %I', current_user);
    END IF;
    EXECUTE format('GRANT CREATE ON DATABASE %I TO recon_owner', current_database());
    EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO recon_app', current_database());
    -- PUBLIC has this right unless an administrator has taken it away.
    EXECUTE format(
        'GRANT CONNECT ON DATABASE %I TO recon_owner, recon_app, recon_read',
        current_database()
    );
END
$$;

-- The owner may also drop what the pipeline staged: retention needs that.
GRANT recon_app TO recon_owner;

CREATE SCHEMA IF NOT EXISTS metrics;
CREATE SCHEMA IF NOT EXISTS stage;
ALTER SCHEMA metrics OWNER TO recon_owner;
ALTER SCHEMA stage OWNER TO recon_owner;

-- Each run makes the stage tables anew.
ALTER DEFAULT PRIVILEGES FOR ROLE recon_app IN SCHEMA stage
    GRANT SELECT ON TABLES TO recon_read;
