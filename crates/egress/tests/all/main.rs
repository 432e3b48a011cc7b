//! Requests to servers of a test's own: where they may go, what comes back, and how they end.

mod destinations;
mod exchange;
mod support;
mod tls;
