//! Writes the WIT package in a folder as one WebAssembly binary, the form in which registries keep it: `wit-package DIR FILE`.
//!
//! Prints the names of what it has, one a line, for the registry's index: interfaces, worlds, and what these export.

use std::collections::BTreeSet;
use std::error::Error;
use std::io::Write;
use std::path::Path;

use wit_parser::Resolve;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(folder), Some(file), None) = (arguments.next(), arguments.next(), arguments.next())
    else {
        return Err("wit-package DIR FILE".into());
    };
    let mut resolve = Resolve::default();
    let (id, _) = resolve.push_dir(Path::new(&folder))?;
    std::fs::write(file, wit_component::encode(&resolve, id)?)?;

    let package = resolve.packages.get(id).ok_or("no package")?;
    let interfaces = package.interfaces.values();
    let mut names: BTreeSet<String> = interfaces.filter_map(|id| resolve.id_of(*id)).collect();
    for (name, world) in &package.worlds {
        names.insert(package.name.interface_id(name));
        let world = resolve.worlds.get(*world).ok_or("no world")?;
        names.extend(world.exports.keys().map(|key| resolve.name_world_key(key)));
    }
    let mut out = std::io::stdout().lock();
    for name in names {
        writeln!(out, "{name}")?;
    }
    Ok(())
}
