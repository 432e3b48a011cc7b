//! The filter: compiled once, run on each input.

use jaq_core::data::HasLut;
use jaq_core::load::{Arena, Error as LoadError, File, Loader};
use jaq_core::{Compiler, Ctx, DataT, Exn, Lut, Vars};
use jaq_json::Val;
use jaq_std::input::{HasInputs, Inputs};

/// A compiled filter with the values of its variables.
pub struct Filter {
    compiled: jaq_core::Filter<Data>,
    variables: Vec<Val>,
}

/// What one input gives: its outputs in order, each a value, an error or a call of `halt`.
pub enum Output {
    Value(Val),
    Error(Val),
    Halt(i32),
}

impl Filter {
    /// Compiles `code`; `variables` are names with their `$`, and values. An error is a list of sentences.
    pub fn compile(code: &str, variables: Vec<(String, Val)>) -> Result<Self, Vec<String>> {
        let definitions = jaq_core::defs()
            .chain(jaq_std::defs())
            .chain(jaq_json::defs());
        let functions = jaq_core::funs()
            .chain(jaq_std::funs())
            .chain(jaq_json::funs())
            .chain(
                jaq_std::input::funs()
                    .into_iter()
                    .map(jaq_core::native::run),
            );

        let arena = Arena::default();
        let modules = Loader::new(definitions)
            .load(&arena, File { code, path: () })
            .map_err(|files| {
                let errors = files.into_iter().map(|(_, error)| error);
                errors
                    .flat_map(|error| load_errors(error, code))
                    .collect::<Vec<_>>()
            })?;
        let compiled = Compiler::default()
            .with_funs(functions)
            .with_global_vars(variables.iter().map(|(name, _)| name.as_str()))
            .compile(modules)
            .map_err(|files| {
                let errors = files.into_iter().flat_map(|(_, errors)| errors);
                errors
                    .map(|(name, kind)| {
                        format!("undefined {} `{name}`{}", kind.as_str(), place(name, code))
                    })
                    .collect::<Vec<_>>()
            })?;

        Ok(Self {
            compiled,
            variables: variables.into_iter().map(|(_, value)| value).collect(),
        })
    }

    /// Runs the filter on `input`; `inputs` is what the filters `input` and `inputs` read.
    pub fn run<'a>(
        &'a self,
        input: Val,
        inputs: Inputs<'a, Val>,
    ) -> impl Iterator<Item = Output> + 'a {
        let globals = Globals {
            lut: &self.compiled.lut,
            inputs,
        };
        let context = Ctx::<Data>::new(globals, Vars::new(self.variables.iter().cloned()));
        self.compiled
            .id
            .run((context, input))
            .map(|output| match output {
                Ok(value) => Output::Value(value),
                Err(exception) => match Exn::get_err(exception) {
                    Ok(error) => Output::Error(error.into_val()),
                    Err(exception) => Output::Halt(exception.get_halt().unwrap_or(5)),
                },
            })
    }
}

fn load_errors(error: LoadError<&str>, code: &str) -> Vec<String> {
    match error {
        LoadError::Io(errors) => errors
            .into_iter()
            .map(|(path, error)| format!("module `{path}`: {error}"))
            .collect(),
        LoadError::Lex(errors) => errors
            .into_iter()
            .map(|(expected, found)| syntax(expected.as_str(), found, code))
            .collect(),
        LoadError::Parse(errors) => errors
            .into_iter()
            .map(|(expected, found)| syntax(expected.as_str(), found, code))
            .collect(),
    }
}

fn syntax(expected: &str, found: &str, code: &str) -> String {
    let start = found
        .chars()
        .next()
        .map_or("the end".into(), |first| format!("`{first}`"));
    format!(
        "syntax error: expected {expected}, found {start}{}",
        place(found, code)
    )
}

/// Where `part` stands in `code`, if it is a part of it: the standard library's definitions are not.
fn place(part: &str, code: &str) -> String {
    let inside = (part.as_ptr() as usize).wrapping_sub(code.as_ptr() as usize);
    if inside <= code.len() {
        format!(" at byte {inside} of the filter")
    } else {
        String::new()
    }
}

/// Ties the interpreter to JSON values and to the inputs.
struct Data;

impl DataT for Data {
    type V<'a> = Val;
    type Data<'a> = Globals<'a>;
}

#[derive(Clone)]
struct Globals<'a> {
    lut: &'a Lut<Data>,
    inputs: Inputs<'a, Val>,
}

impl<'a> HasLut<'a, Data> for Globals<'a> {
    fn lut(&self) -> &'a Lut<Data> {
        self.lut
    }
}

impl<'a> HasInputs<'a, Val> for Globals<'a> {
    fn inputs(&self) -> Inputs<'a, Val> {
        self.inputs
    }
}
