//! TypeScript.

use oxc_allocator::Allocator;
use oxc_codegen::Codegen;
use oxc_parser::Parser;
use oxc_semantic::SemanticBuilder;
use oxc_span::SourceType;
use oxc_transformer::{TransformOptions, Transformer};

pub fn strip(source: &str) -> Result<String, String> {
    let allocator = Allocator::default();
    let parsed = Parser::new(&allocator, source, SourceType::ts()).parse();
    if let Some(e) = parsed.diagnostics.first() {
        return Err(e.to_string());
    }
    let mut program = parsed.program;
    let scoping = SemanticBuilder::new().with_excess_capacity(2.0).build(&program).semantic.into_scoping();
    let options = TransformOptions::default();
    let path = std::path::Path::new("script.ts");
    let done = Transformer::new(&allocator, path, &options).build_with_scoping(scoping, &mut program);
    if let Some(e) = done.diagnostics.first() {
        return Err(e.to_string());
    }
    Ok(Codegen::new().build(&program).code)
}
