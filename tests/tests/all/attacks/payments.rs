//! Payments, and who can take, spend or repeat one.
