//! What a compiler leaves in a module so that a place in its code can be told as a line of its source: DWARF 4, as little of it as there can be.

use wasm_encoder::{CustomSection, Module};

/// Puts all of a module's code onto one line of one file.
pub fn add(module: &mut Module, file: &str, line: u32, code_len: u32) {
    let (folder, name) = file.rsplit_once('/').unwrap();
    // One unit without children: line program, begin and length of its code, name and folder.
    let abbreviations = [
        1, 0x11, 0, 0x10, 0x17, 0x11, 0x01, 0x12, 0x06, 0x03, 0x08, 0x1b, 0x08, 0, 0, 0,
    ];
    let mut unit = vec![4, 0, 0, 0, 0, 0, 4, 1];
    unit.extend(0_u32.to_le_bytes());
    unit.extend(0_u32.to_le_bytes());
    unit.extend(code_len.to_le_bytes());
    unit.extend(text(name));
    unit.extend(text(folder));

    // From the least length of an instruction to the files.
    let mut head = vec![1, 1, 1, 0xfb, 14, 13];
    head.extend([0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1]);
    head.push(0);
    head.extend(text(name));
    head.extend([0, 0, 0, 0]);
    let mut program = vec![0, 5, 2, 0, 0, 0, 0, 3];
    program.extend(leb(line - 1));
    program.extend([1, 2]);
    program.extend(leb(code_len));
    program.extend([0, 1, 1]);
    let mut lines = vec![4, 0];
    lines.extend(u32::try_from(head.len()).unwrap().to_le_bytes());
    lines.extend(head);
    lines.extend(program);

    for (name, content) in [
        (".debug_abbrev", abbreviations.to_vec()),
        (".debug_info", sized(unit)),
        (".debug_line", sized(lines)),
    ] {
        module.section(&CustomSection {
            name: name.into(),
            data: content.into(),
        });
    }
}

fn sized(content: Vec<u8>) -> Vec<u8> {
    let mut bytes = u32::try_from(content.len()).unwrap().to_le_bytes().to_vec();
    bytes.extend(content);
    bytes
}

fn text(text: &str) -> Vec<u8> {
    [text.as_bytes(), &[0]].concat()
}

/// Seven bits at a time, and one bit more than needed, so that it is the same number with a sign and without.
fn leb(mut number: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x40 {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}
