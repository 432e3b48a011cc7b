//! Requests that agents send.
