-- Whose price may yet come to be known as a plan's.
CREATE INDEX subscriptions_without_plan ON subscriptions (price_id) WHERE plan_id IS NULL;
CREATE INDEX prices_of_plan ON prices (plan_id);
