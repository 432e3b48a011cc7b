//! A turn of a session as a script: what it declares may have been declared before, and lives on.

use oxc_allocator::Allocator;
use oxc_ast::ast::{
    ClassType, ImportDeclaration, ImportDeclarationSpecifier, Program, Statement,
    VariableDeclarationKind,
};
use oxc_parser::Parser;
use oxc_span::{GetSpan, SourceType, Span};

use crate::typescript::{self, Lines, Unused};

/// Something that takes the place of part of the source.
type Edit = (Span, String);

/// JavaScript for a turn, in which declarations at the top are `var`, and imports are awaited. What is no program stays as it is: the
/// engine says what is wrong with it.
pub fn rewritten(name: &str, source: &str) -> (String, Option<Lines>) {
    // What begins with a brace is an object, where it can be one.
    let trimmed = source.trim();
    let wrapped = format!("({trimmed})");
    if trimmed.starts_with('{') && script(&wrapped).is_some() {
        return (wrapped, None);
    }
    if let Some(script) = script(source) {
        return (script, None);
    }
    if let Some((stripped, lines)) = typescript::strip(name, source, Unused::Kept)
        && let Some(script) = script(&stripped)
    {
        return (script, Some(lines));
    }
    (source.to_owned(), None)
}

fn script(source: &str) -> Option<String> {
    let allocator = Allocator::default();
    let parsed = Parser::new(&allocator, source, SourceType::mjs()).parse();
    if parsed.panicked || !parsed.diagnostics.is_empty() {
        return None;
    }
    let mut script = source.to_owned();
    // From the end on, so that the places before stay where they are.
    for (span, text) in edits(source, &parsed.program).into_iter().rev() {
        let range = span.start as usize..span.end as usize;
        script.replace_range(range, &text);
    }
    Some(script)
}

fn edits(source: &str, program: &Program<'_>) -> Vec<Edit> {
    let mut edits = Vec::new();
    for statement in &program.body {
        match statement {
            Statement::VariableDeclaration(it) => {
                let keyword = match it.kind {
                    VariableDeclarationKind::Let => "let",
                    VariableDeclarationKind::Const => "const",
                    _ => continue,
                };
                let end = it.span.start.saturating_add(keyword.len() as u32);
                let place = Span::new(it.span.start, end);
                // As long as what it replaces: places in tracebacks stay true.
                edits.push((place, format!("{:1$}", "var", keyword.len())));
            }
            Statement::ClassDeclaration(it) if it.r#type == ClassType::ClassDeclaration => {
                let Some(name) = &it.id else { continue };
                let at = |place: u32| Span::new(place, place);
                edits.push((at(it.span.start), format!("var {} = ", name.name)));
                edits.push((at(it.span.end), ";".to_owned()));
            }
            Statement::ImportDeclaration(it) => {
                edits.push((it.span, imported(source, it)));
            }
            _ => {}
        }
    }
    edits
}

/// An import as a declaration of what it awaits.
fn imported(source: &str, import: &ImportDeclaration<'_>) -> String {
    let from = import.source.span.source_text(source);
    let (mut named, mut whole) = (Vec::new(), None);
    for specifier in import.specifiers.iter().flatten() {
        match specifier {
            ImportDeclarationSpecifier::ImportSpecifier(it) => {
                let name = it.imported.span().source_text(source);
                named.push(format!("{name}: {}", it.local.name));
            }
            ImportDeclarationSpecifier::ImportDefaultSpecifier(it) => {
                named.push(format!("default: {}", it.local.name));
            }
            ImportDeclarationSpecifier::ImportNamespaceSpecifier(it) => {
                whole = Some(&it.local.name)
            }
        }
    }
    let named = named.join(", ");
    match whole {
        Some(whole) => format!("var {whole} = await import({from}), {{ {named} }} = {whole};"),
        None if import.specifiers.is_none() => format!("void await import({from});"),
        None => format!("var {{ {named} }} = await import({from});"),
    }
}
