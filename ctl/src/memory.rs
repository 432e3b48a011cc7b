//! How a program's memory begins: what has to grow it before it can do anything does so in every instance.

use wasmparser::{ConstExpr, DataKind, Operator, Parser, Payload};

/// Room for a first allocation, bytes: what WASI's C library asks for at the least.
const ROOM: u64 = 64 << 10;
const PAGE: u64 = 64 << 10;
const MIB: u64 = 1 << 20;
/// What has more than this is the frozen memory of an interpreter, which its author does not link.
const MOST: u64 = 4 * MIB;

/// One core module, as far as it has been read.
#[derive(Default)]
struct Module {
    /// Of the memory that it defines, bytes.
    initial: Option<u64>,
    /// Where its data and its stack end.
    used: u64,
    grows: bool,
}

impl Module {
    fn grows_at_once(&self) -> bool {
        self.grows
            && self
                .initial
                .is_some_and(|it| it.saturating_sub(self.used) < ROOM)
    }
}

/// The `--initial-memory` that would spare each instance of a component to begin by growing its memory, where it does; none of what
/// cannot be read.
pub(crate) fn wanted(component: &[u8]) -> Option<u64> {
    let mut modules: Vec<Module> = Vec::new();
    for payload in Parser::new(0).parse_all(component) {
        read(payload.ok()?, &mut modules)?;
    }
    let growing = modules.iter().filter(|it| it.grows_at_once());
    let used = growing.map(|it| it.used).max()?;
    let wanted = used
        .saturating_add(MIB / 2)
        .next_multiple_of(MIB)
        .max(2 * MIB);
    (wanted <= MOST).then_some(wanted)
}

fn read(payload: Payload<'_>, modules: &mut Vec<Module>) -> Option<()> {
    if let Payload::Version {
        encoding: wasmparser::Encoding::Module,
        ..
    } = payload
    {
        modules.push(Module::default());
    }
    let Some(module) = modules.last_mut() else {
        return Some(());
    };
    match payload {
        Payload::MemorySection(section) => {
            let memory = section.into_iter().next()?.ok()?;
            module.initial = Some(memory.initial.saturating_mul(PAGE));
        }
        Payload::GlobalSection(section) => {
            // The first one that changes is the stack's, which ends where it begins.
            let globals = section.into_iter().filter_map(Result::ok);
            let stack = globals.into_iter().find(|global| global.ty.mutable);
            let end = stack.and_then(|global| constant(&global.init_expr));
            module.used = module.used.max(end.unwrap_or_default());
        }
        Payload::DataSection(section) => {
            for data in section {
                let data = data.ok()?;
                if let DataKind::Active { offset_expr, .. } = data.kind {
                    let end = constant(&offset_expr)?.saturating_add(data.data.len() as u64);
                    module.used = module.used.max(end);
                }
            }
        }
        Payload::CodeSectionEntry(body) if !module.grows => {
            let mut operators = body.get_operators_reader().ok()?;
            while !operators.eof() {
                if matches!(operators.read().ok()?, Operator::MemoryGrow { .. }) {
                    module.grows = true;
                    break;
                }
            }
        }
        _ => {}
    }
    Some(())
}

/// The value of an expression that is one number.
fn constant(expression: &ConstExpr<'_>) -> Option<u64> {
    match expression.get_operators_reader().read().ok()? {
        Operator::I32Const { value } => Some(u64::from(value.cast_unsigned())),
        Operator::I64Const { value } => Some(value.cast_unsigned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted_by(text: &str) -> Option<u64> {
        wanted(&wat::parse_str(text).unwrap())
    }

    #[test]
    fn what_has_no_room_and_grows_wants_two_mebibytes() {
        let text = r#"(component (core module
            (memory 17)
            (global (mut i32) (i32.const 1048576))
            (data (i32.const 1048576) "some data")
            (func (drop (memory.grow (i32.const 1))))))"#;
        assert_eq!(wanted_by(text), Some(2 << 20));
        assert_eq!(wanted_by(&text.replace("memory 17", "memory 32")), None);
        assert_eq!(
            wanted_by(&text.replace("memory.grow (i32.const 1)", "memory.size")),
            None
        );
    }

    #[test]
    fn more_data_want_more_up_to_what_is_linked_by_hand() {
        let text = r#"(module (memory 33) (data (i32.const 2100000) "x") (func (drop (memory.grow (i32.const 1)))))"#;
        assert_eq!(wanted_by(text), Some(3 << 20));
        let text = text.replace("33", "65").replace("2100000", "4200000");
        assert_eq!(wanted_by(&text), None);
    }

    #[test]
    fn what_cannot_be_read_wants_nothing() {
        for bytes in [&b""[..], b"\0asm", b"\0asm\x0d\0\x01\0\x01", b"no program"] {
            assert_eq!(wanted(bytes), None);
        }
    }
}
