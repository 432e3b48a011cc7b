//! Programs and agents against the sandbox, the compiler and the report.
