//! The order in which a call is looked at, for every way in.
