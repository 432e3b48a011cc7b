//! What a session runs, and what it is given: plaintext on this side only.

/// A program with its inputs.
#[derive(Clone)]
pub struct Program<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) inputs: Inputs<'a>,
}

/// Arguments and standard input of a program, or of an agent that is one.
#[derive(Clone, Default)]
pub struct Inputs<'a> {
    pub(crate) stdin: Option<&'a [u8]>,
    pub(crate) arguments: Vec<Vec<u8>>,
}

impl<'a> Program<'a> {
    /// A component that exports `wasi:cli/run@0.2.x` or a preview 1 command module; for [`crate::Session::run_python`] and
    /// [`crate::Session::run_javascript`], a script.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self::with_inputs(bytes, Inputs::new())
    }

    /// As [`Self::new`], with inputs.
    pub fn with_inputs(bytes: &'a [u8], inputs: Inputs<'a>) -> Self {
        Self { bytes, inputs }
    }

    /// Adds an argument; the program sees them after its own name. WASI passes UTF-8 only.
    #[must_use]
    pub fn argument(mut self, argument: impl Into<Vec<u8>>) -> Self {
        self.inputs = self.inputs.argument(argument);
        self
    }

    /// Adds several arguments.
    #[must_use]
    pub fn arguments<I: IntoIterator<Item: Into<Vec<u8>>>>(mut self, arguments: I) -> Self {
        self.inputs = self.inputs.arguments(arguments);
        self
    }

    /// Sets standard input; without it the program reads end of file.
    #[must_use]
    pub fn stdin(mut self, bytes: &'a [u8]) -> Self {
        self.inputs = self.inputs.stdin(bytes);
        self
    }
}

impl<'a> Inputs<'a> {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an argument.
    #[must_use]
    pub fn argument(mut self, argument: impl Into<Vec<u8>>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Adds several arguments.
    #[must_use]
    pub fn arguments<I: IntoIterator<Item: Into<Vec<u8>>>>(mut self, arguments: I) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Sets standard input; without it the program reads end of file.
    #[must_use]
    pub fn stdin(mut self, bytes: &'a [u8]) -> Self {
        self.stdin = Some(bytes);
        self
    }
}
