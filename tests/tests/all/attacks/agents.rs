//! Agents and their owners against the host, its clients and each other.
