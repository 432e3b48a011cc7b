//! The command line: jq's options, those that make sense without files and a terminal.

use std::iter;

pub const USAGE: &str = "\
usage: jq [OPTIONS] FILTER, with the input on standard input

  -c, --compact-output   one line for each output
  -r, --raw-output       strings without quotes
  -j, --join-output      as -r, without a newline after each output
  -S, --sort-keys        objects sorted by key
  -s, --slurp            all inputs in one array
  -R, --raw-input        each input line as a string; with -s the whole input as one string
  -n, --null-input       run once with null; `input` and `inputs` read
  -e, --exit-status      exit with 1 if the last output was false or null, 4 if there was none
      --arg NAME VALUE      set $NAME to the string VALUE
      --argjson NAME VALUE  set $NAME to the JSON value VALUE
";

/// What the command line asks for.
#[derive(Default)]
pub struct Options {
    pub filter: String,
    pub compact: bool,
    pub raw_output: bool,
    pub join_output: bool,
    pub sort_keys: bool,
    pub slurp: bool,
    pub raw_input: bool,
    pub null_input: bool,
    pub exit_status: bool,
    pub help: bool,
    pub variables: Vec<Variable>,
}

/// A variable of the filter, from `--arg` (a string) or `--argjson` (JSON text).
pub struct Variable {
    pub name: String,
    pub value: String,
    pub is_json: bool,
}

impl Options {
    /// Reads the arguments that follow the program's name; the error is a sentence for the user.
    pub fn parse(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self::default();
        let mut filter = None;
        let mut arguments = arguments;
        let mut only_filter_left = false;

        while let Some(argument) = arguments.next() {
            if only_filter_left || !argument.starts_with('-') || argument == "-" {
                if filter.replace(argument).is_some() {
                    return Err(
                        "more than one filter: input comes on standard input, not from files"
                            .into(),
                    );
                }
            } else if argument == "--" {
                only_filter_left = true;
            } else if let Some(long) = argument.strip_prefix("--") {
                options.long(long, &mut arguments)?;
            } else {
                for letter in argument.chars().skip(1) {
                    options.short(letter)?;
                }
            }
        }

        match filter {
            Some(filter) => options.filter = filter,
            None if options.help => {}
            None => return Err("no filter given".into()),
        }
        Ok(options)
    }

    fn short(&mut self, letter: char) -> Result<(), String> {
        let option = match letter {
            'c' => &mut self.compact,
            'r' => &mut self.raw_output,
            'j' => &mut self.join_output,
            'S' => &mut self.sort_keys,
            's' => &mut self.slurp,
            'R' => &mut self.raw_input,
            'n' => &mut self.null_input,
            'e' => &mut self.exit_status,
            'h' => &mut self.help,
            _ => return Err(format!("unknown option -{letter}")),
        };
        *option = true;
        Ok(())
    }

    fn long(&mut self, name: &str, rest: &mut impl Iterator<Item = String>) -> Result<(), String> {
        let letter = match name {
            "compact-output" => 'c',
            "raw-output" => 'r',
            "join-output" => 'j',
            "sort-keys" => 'S',
            "slurp" => 's',
            "raw-input" => 'R',
            "null-input" => 'n',
            "exit-status" => 'e',
            "help" => 'h',
            "arg" | "argjson" => {
                let mut words = iter::from_fn(|| rest.next());
                let (Some(variable), Some(value)) = (words.next(), words.next()) else {
                    return Err(format!("--{name} takes a name and a value"));
                };
                self.variables.push(Variable {
                    name: format!("${variable}"),
                    value,
                    is_json: name == "argjson",
                });
                return Ok(());
            }
            _ => return Err(format!("unknown option --{name}")),
        };
        self.short(letter)
    }
}
