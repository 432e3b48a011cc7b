//! What one peer can make the host hold.
