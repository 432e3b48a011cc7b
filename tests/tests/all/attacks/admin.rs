//! The admin port, seen from a web page and from other users of the machine.
