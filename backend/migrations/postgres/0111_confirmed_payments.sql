-- When the payer of an invoice was last said to have to confirm its payment.
ALTER TABLE invoices ADD COLUMN action_required_at TIMESTAMPTZ;
