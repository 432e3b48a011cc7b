//! Puts a guest image together: `make image` calls it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use hypervisor_image::assemble::{Parts, assemble};
use hypervisor_image::cpio::Tree;
use hypervisor_image::{Error, Image};

/// Put a guest image together from a stub, a kernel, a command line and a folder.
#[derive(Debug, Parser)]
#[command(name = "hypervisor-image", version)]
struct Cli {
    /// systemd-stub.
    #[arg(long, value_name = "FILE")]
    stub: PathBuf,
    /// The kernel.
    #[arg(long, value_name = "FILE")]
    kernel: PathBuf,
    /// The file with the kernel's command line.
    #[arg(long, value_name = "FILE")]
    command_line: PathBuf,
    /// The folder that becomes the initial file system.
    #[arg(long, value_name = "DIR")]
    root: PathBuf,
    /// The image.
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let source = std::error::Error::source(&error);
            let source = source.map(|source| format!(": {source}"));
            let _ = std::io::Write::write_fmt(
                &mut std::io::stderr(),
                format_args!("error: {error}{}\n", source.unwrap_or_default()),
            );
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<(), Error> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::File { path, source }
    };
    let read = |path: &Path| std::fs::read(path).map_err(at(path));
    let (stub, kernel) = (read(&cli.stub)?, read(&cli.kernel)?);
    let command_line = std::fs::read_to_string(&cli.command_line).map_err(at(&cli.command_line))?;
    // Lines that begin with a number sign say why; the others are one line.
    let command_line: Vec<&str> = command_line
        .lines()
        .filter(|line| !line.starts_with('#'))
        .flat_map(str::split_whitespace)
        .collect();
    let image = assemble(Parts {
        stub: &stub,
        kernel: &kernel,
        command_line: &command_line.join(" "),
        tree: Tree::of_folder(&cli.root)?,
    })?;
    // What cannot be read again cannot be measured.
    Image::parse(&image)?.tree()?;
    std::fs::write(&cli.to, image).map_err(at(&cli.to))
}
