"""Messages of the control plane, generated from proto/ by scripts/generate. Only the master imports them."""
