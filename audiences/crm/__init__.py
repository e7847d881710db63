"""What a CRM tells: signed webhooks mapped to events and traits, and a reconciliation with its export."""
