//! Evidence, the component log and quotes.
