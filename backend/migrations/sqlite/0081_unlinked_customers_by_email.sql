-- The customers of nobody, for whoever signs in with their e-mail address.
CREATE INDEX unlinked_customers_by_email ON customers (lower(email), id) WHERE user_id IS NULL;
