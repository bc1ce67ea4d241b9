-- A customer's name as operators look for its beginning: in lower case, and short enough for an index.
ALTER TABLE customers ADD COLUMN name_key TEXT;
UPDATE customers SET name_key = lower(substr(name, 1, 255)) WHERE name IS NOT NULL;
