-- The lists of operators, the newest first, and what they look for.
CREATE INDEX customers_by_time ON customers (first_seen_at, id);
CREATE INDEX customers_by_tier ON customers (tier, first_seen_at, id);
CREATE INDEX customers_by_name ON customers (name_key, id) WHERE name_key IS NOT NULL;
CREATE INDEX customers_by_any_email ON customers (lower(email), id) WHERE email IS NOT NULL;
CREATE INDEX subscriptions_by_status ON subscriptions (status, first_seen_at, id);
CREATE INDEX licenses_by_time ON licenses (created_at, id);
CREATE INDEX licenses_by_status ON licenses (status, created_at, id);
CREATE INDEX memberships_of_customer ON memberships (customer_id, joined_at, id) WHERE customer_id IS NOT NULL;
CREATE INDEX dead_letters_of_customer ON dead_letters (customer_id, created_at, id) WHERE customer_id IS NOT NULL;
CREATE INDEX operator_acts_by_request ON operator_acts (request_id, id);
-- What was paid, what failed and what is in grace since a moment.
CREATE INDEX payments_by_paid_at ON payments (paid_at, id) WHERE paid_at IS NOT NULL;
CREATE INDEX payments_failed ON payments (seen_at, id) WHERE failure_code IS NOT NULL;
CREATE INDEX invoices_by_last_failure ON invoices (last_failed_at, id) WHERE last_failed_at IS NOT NULL;
CREATE INDEX invoices_by_first_failure ON invoices (first_failed_at, id) WHERE first_failed_at IS NOT NULL;
CREATE INDEX contributions_by_first_failure ON contributions (first_failed_at, id) WHERE first_failed_at IS NOT NULL;
CREATE INDEX memberships_in_grace ON memberships (joined_at, id) WHERE grace_ends_at IS NOT NULL;
CREATE INDEX memberships_over ON memberships (joined_at, id) WHERE over_at IS NOT NULL;
-- What finds them in any case finds them as they are written.
DROP INDEX customers_by_email;
