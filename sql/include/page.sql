-- docs/maintenance.md, in :page, is where its examples stand: run them, and say
-- what the page would look like with what matview.explain says of them now.
SELECT string_agg(m[1], '' ORDER BY n) AS statements
  FROM regexp_matches(:'page', '```sql\n(.*?)```', 'g') WITH ORDINALITY AS r(m, n) \gset
:statements

-- How a view is maintained: what explain says before it comes to plans, but for
-- the base tables
CREATE FUNCTION explained(view text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    line text;
BEGIN
    FOR line IN SELECT l FROM matview.explain(view::regclass) l LOOP
        EXIT WHEN line ~ '^tracked: ';
        CONTINUE WHEN line ~ '^(base table|pending changes) ';
        RETURN NEXT line;
    END LOOP;
END $$;

-- The lines of several views, each below its name, but that a reason is enough
CREATE FUNCTION explained(views text[]) RETURNS text LANGUAGE sql AS $$
  SELECT string_agg(CASE WHEN cardinality(views) = 1 THEN all_lines
                         WHEN reason IS NOT NULL THEN v || ': ' || reason || E'\n'
                         ELSE v || E':\n' || regexp_replace(all_lines, '^(?=.)', '  ', 'gn') END, '' ORDER BY n)
    FROM unnest(views) WITH ORDINALITY AS x(v, n),
         LATERAL (SELECT string_agg(l || E'\n', '' ORDER BY n) AS all_lines,
                         max(substr(l, 9)) FILTER (WHERE l LIKE 'reason: %') AS reason
                    FROM explained(v) WITH ORDINALITY AS y(l, n)) z
$$;

-- A block of text behind a block of SQL is what explain says of the views that
-- are made there.
CREATE FUNCTION page_now(page text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    parts text[] := regexp_split_to_array(page, '```');
    views text[] := '{}';
BEGIN
    FOR i IN 2 .. array_length(parts, 1) BY 2 LOOP
        IF parts[i] LIKE E'text\n%' THEN
            parts[i] := E'text\n' || explained(views);
        END IF;
        views := ARRAY(SELECT m[1] FROM regexp_matches(parts[i], 'CREATE MATERIALIZED VIEW (\w+)', 'g') m);
    END LOOP;
    RETURN array_to_string(parts, '```');
END $$;
