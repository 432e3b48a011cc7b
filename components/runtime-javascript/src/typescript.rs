//! TypeScript made JavaScript: its types are taken away, and what is more than types (enums, namespaces, parameter properties)
//! becomes code. Nothing is checked.

use std::path::Path;

use oxc_allocator::Allocator;
use oxc_codegen::{Codegen, CodegenOptions};
use oxc_parser::Parser;
use oxc_semantic::SemanticBuilder;
use oxc_span::SourceType;
use oxc_transformer::{TransformOptions, Transformer};

/// Where the lines of the JavaScript are in the TypeScript.
pub struct Lines {
    /// What tracebacks call the source.
    name: String,
    map: oxc_sourcemap::SourceMap<'static>,
}

/// What becomes of imports that nothing in the source uses as a value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Unused {
    /// They are of types, as the language has it.
    Left,
    /// Something later may use them.
    Kept,
}

/// JavaScript, if `source` is TypeScript. `name` is what tracebacks call it.
pub fn strip(name: &str, source: &str, unused: Unused) -> Option<(String, Lines)> {
    let allocator = Allocator::default();
    let parsed = Parser::new(&allocator, source, SourceType::ts()).parse();
    if parsed.panicked || !parsed.diagnostics.is_empty() {
        return None;
    }
    let mut program = parsed.program;
    let semantic = SemanticBuilder::new()
        .with_excess_capacity(2.0)
        .build(&program)
        .semantic;
    let path = Path::new(name);
    let mut options = TransformOptions::default();
    options.typescript.only_remove_type_imports = unused == Unused::Kept;
    let made = Transformer::new(&allocator, path, &options)
        .build_with_scoping(semantic.into_scoping(), &mut program);
    if !made.diagnostics.is_empty() {
        return None;
    }
    let options = CodegenOptions {
        source_map_path: Some(path.to_owned()),
        ..CodegenOptions::default()
    };
    let written = Codegen::new().with_options(options).build(&program);
    let lines = Lines {
        name: name.to_owned(),
        map: written.map?.into_owned(),
    };
    Some((written.code, lines))
}

impl Lines {
    /// A traceback in which the source's places are where they were written.
    pub fn restored(&self, traceback: &str) -> String {
        let table = self.map.generate_lookup_table();
        let mut restored = String::with_capacity(traceback.len());
        let mut rest = traceback;
        let mark = format!("{}:", self.name);
        while let Some((before, behind)) = rest.split_once(&mark) {
            restored.push_str(before);
            restored.push_str(&mark);
            rest = behind;
            let Some((line, column, behind)) = place(behind) else {
                continue;
            };
            let zero = |number: u32| number.saturating_sub(1);
            match self.map.lookup_token(&table, zero(line), zero(column)) {
                Some(token) => {
                    let (line, column) = (token.get_src_line() + 1, token.get_src_col() + 1);
                    restored.push_str(&format!("{line}:{column}"));
                }
                None => restored.push_str(&format!("{line}:{column}")),
            }
            rest = behind;
        }
        restored.push_str(rest);
        restored
    }
}

/// `LINE:COLUMN` at the beginning of a text, and what is behind it.
fn place(text: &str) -> Option<(u32, u32, &str)> {
    let (line, rest) = number(text)?;
    let (column, rest) = number(rest.strip_prefix(':')?)?;
    Some((line, column, rest))
}

fn number(text: &str) -> Option<(u32, &str)> {
    let end = text
        .find(|it: char| !it.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, rest) = text.split_at_checked(end)?;
    Some((digits.parse().ok()?, rest))
}
