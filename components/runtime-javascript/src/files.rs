//! The modules of a bundle: where an import leads, and what is loaded from there.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use rquickjs::loader::{ImportAttributes, Loader, Resolver};
use rquickjs::module::Declared;
use rquickjs::{Ctx, Error, Exception, Module, Result};

use crate::bindings::exports::hypervisor::plugin::runtime::{Bundle, File};
use crate::engine::MODULES;
use crate::typescript::{self, Lines, Unused};

/// What an import may leave out, or say instead of TypeScript.
const ENDINGS: [&str; 6] = ["", ".ts", ".js", ".mjs", "/index.ts", "/index.js"];

/// The sources of a bundle, by their paths. The text of a module goes once it is loaded.
#[derive(Clone)]
pub struct Files {
    modules: Rc<RefCell<BTreeMap<String, Option<String>>>>,
    /// The lines of what was TypeScript.
    lines: Rc<RefCell<Vec<Lines>>>,
}

impl Files {
    /// Of a bundle; says what is wrong with it where something is.
    pub fn new(
        bundle: Bundle,
        lines: Rc<RefCell<Vec<Lines>>>,
    ) -> std::result::Result<Self, String> {
        let mut modules = BTreeMap::new();
        let mut add = |name: String, content: Vec<u8>| {
            let source =
                String::from_utf8(content).map_err(|_| format!("'{name}' is not UTF-8"))?;
            let source = match source.strip_prefix('\u{feff}') {
                Some(source) => source.to_owned(),
                None => source,
            };
            match modules.insert(name.clone(), Some(source)) {
                None => Ok(()),
                Some(_) => Err(format!("'{name}' is twice in the bundle")),
            }
        };
        for File { name, content } in bundle.modules {
            let path = joined("", &name);
            let path = path.filter(|path| !path.is_empty() && !name.starts_with('/'));
            add(
                path.ok_or_else(|| format!("'{name}' is no path in a bundle"))?,
                content,
            )?;
        }
        for File { name, content } in bundle.packages {
            // Under the name by which it is imported, which no path has: it begins with no dot.
            let stem = name
                .strip_suffix(".js")
                .or_else(|| name.strip_suffix(".mjs"));
            let stem = stem.ok_or_else(|| {
                format!("the package '{name}' is no ES module in one file: bundle it to NAME.js or NAME.mjs")
            })?;
            add(format!("{PACKAGE}{stem}"), content)?;
        }
        let modules = Rc::new(RefCell::new(modules));
        Ok(Self { modules, lines })
    }

    /// The path of a module of the bundle, as an import may write it.
    pub fn found(&self, path: &str) -> Option<String> {
        let modules = self.modules.borrow();
        let there = |path: String| modules.contains_key(&path).then_some(path);
        let as_written = ENDINGS.iter().find_map(|end| there(format!("{path}{end}")));
        // In TypeScript imports name the JavaScript that it becomes.
        as_written.or_else(|| there(format!("{}.ts", path.strip_suffix(".js")?)))
    }
}

/// Before the names of packages.
const PACKAGE: &str = "package:";

impl Resolver for Files {
    fn resolve<'js>(
        &mut self,
        ctx: &Ctx<'js>,
        base: &str,
        name: &str,
        _: Option<ImportAttributes<'js>>,
    ) -> Result<String> {
        if MODULES.iter().any(|(module, _)| *module == name) {
            return Ok(name.to_owned());
        }
        let found = if name.starts_with("./") || name.starts_with("../") {
            let folder = base.rsplit_once('/').map_or("", |(folder, _)| folder);
            joined(folder, name).and_then(|path| self.found(&path))
        } else {
            let package = format!("{PACKAGE}{name}");
            self.modules
                .borrow()
                .contains_key(&package)
                .then_some(package)
        };
        found.ok_or_else(|| {
            let by = if base.is_empty() {
                String::new()
            } else {
                format!(", which '{base}' imports,")
            };
            refused(
                ctx,
                &format!("the module '{name}'{by} is not in the bundle"),
            )
        })
    }
}

impl Loader for Files {
    fn load<'js>(
        &mut self,
        ctx: &Ctx<'js>,
        name: &str,
        _: Option<ImportAttributes<'js>>,
    ) -> Result<Module<'js, Declared>> {
        let source = self
            .modules
            .borrow_mut()
            .get_mut(name)
            .and_then(Option::take);
        let source = source.ok_or_else(|| refused(ctx, &format!("cannot load '{name}'")))?;
        if name.ends_with(".json") {
            let module = format!("export default JSON.parse({});", literal(&source));
            return Module::declare(ctx.clone(), name, module);
        }
        let is_typescript = [".ts", ".mts", ".cts"]
            .iter()
            .any(|end| name.ends_with(end));
        if is_typescript && let Some((script, map)) = typescript::strip(name, &source, Unused::Left)
        {
            self.lines.borrow_mut().push(map);
            return Module::declare(ctx.clone(), name, script);
        }
        Module::declare(ctx.clone(), name, source)
    }
}

fn refused(ctx: &Ctx<'_>, message: &str) -> Error {
    Exception::throw_reference(ctx, message)
}

/// A path from a folder on; nothing where it leads out of the bundle.
fn joined(folder: &str, path: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in folder.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// Text as a literal of the language.
fn literal(text: &str) -> String {
    let mut made = String::with_capacity(text.len().saturating_add(2));
    made.push('"');
    for it in text.chars() {
        match it {
            '"' => made.push_str("\\\""),
            '\\' => made.push_str("\\\\"),
            '\u{0}'..='\u{1f}' | '\u{2028}' | '\u{2029}' => {
                made.push_str(&format!("\\u{:04x}", u32::from(it)));
            }
            it => made.push(it),
        }
    }
    made.push('"');
    made
}
