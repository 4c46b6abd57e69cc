//! How the event ABI may change (`F-028`): against the schemas as they were when they were last published, no field number
//! and no enumeration's number gets another meaning, ever. What goes leaves its number and its name reserved.

use std::collections::BTreeMap;
use std::path::Path;

use prost_types::{DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet};

const SCHEMAS: [&str; 2] = ["rspp/v1/event.proto", "rspp/v1/recording.proto"];

fn schemas(folder: &str) -> FileDescriptorSet {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    protox::compile(SCHEMAS, [folder]).expect("the schemas are well formed")
}

/// The numbers of a message or an enumeration.
#[derive(Default)]
struct Numbers {
    /// What each says: of a field its name, type and label, of an enumeration its word.
    used: BTreeMap<i32, String>,
    /// From and to, both included.
    reserved: Vec<(i32, i32)>,
    reserved_names: Vec<String>,
}

impl Numbers {
    fn is_reserved(&self, number: i32) -> bool {
        self.reserved.iter().any(|(from, to)| (*from..=*to).contains(&number))
    }
}

fn field(message: &DescriptorProto, field: &FieldDescriptorProto) -> String {
    let of = field.type_name.clone().unwrap_or_default();
    // The oneof of an optional field is made up.
    let real = field.oneof_index.filter(|_| !field.proto3_optional());
    let oneof = real.and_then(|index| message.oneof_decl.get(index as usize)).map(|it| it.name().to_owned());
    let optional = if field.proto3_optional() { "optional " } else { "" };
    let (label, kind) = (field.label(), field.r#type());
    format!("{} = {optional}{label:?} {kind:?} {of} {}", field.name(), oneof.unwrap_or_default())
}

fn add_message(all: &mut BTreeMap<String, Numbers>, within: &str, message: &DescriptorProto) {
    let name = format!("{within}.{}", message.name());
    let numbers = Numbers {
        used: message.field.iter().map(|it| (it.number(), field(message, it))).collect(),
        // The end of a message's range is not in it.
        reserved: message.reserved_range.iter().map(|range| (range.start(), range.end() - 1)).collect(),
        reserved_names: message.reserved_name.clone(),
    };
    message.nested_type.iter().for_each(|nested| add_message(all, &name, nested));
    message.enum_type.iter().for_each(|nested| add_enum(all, &name, nested));
    all.insert(name, numbers);
}

fn add_enum(all: &mut BTreeMap<String, Numbers>, within: &str, of: &EnumDescriptorProto) {
    let numbers = Numbers {
        used: of.value.iter().map(|value| (value.number(), value.name().to_owned())).collect(),
        reserved: of.reserved_range.iter().map(|range| (range.start(), range.end())).collect(),
        reserved_names: of.reserved_name.clone(),
    };
    all.insert(format!("{within}.{}", of.name()), numbers);
}

fn numbers(schemas: &FileDescriptorSet) -> BTreeMap<String, Numbers> {
    let mut all = BTreeMap::new();
    for file in &schemas.file {
        file.message_type.iter().for_each(|message| add_message(&mut all, file.package(), message));
        file.enum_type.iter().for_each(|of| add_enum(&mut all, file.package(), of));
    }
    all
}

/// What of the old schemas the new ones give another meaning.
fn broken(old: &FileDescriptorSet, new: &FileDescriptorSet) -> Vec<String> {
    let (old, new) = (numbers(old), numbers(new));
    let mut broken = Vec::new();
    for (name, before) in &old {
        let Some(after) = new.get(name) else {
            broken.push(format!("{name} is gone: keep it, with its numbers reserved"));
            continue;
        };
        for (number, said) in &before.used {
            let word = said.split(' ').next().unwrap_or_default();
            match after.used.get(number) {
                Some(says) if says == said => {}
                Some(says) => broken.push(format!("{name}: {number} was `{said}`, and is `{says}`")),
                None if after.is_reserved(*number) && after.reserved_names.iter().any(|it| it == word) => {}
                None => broken.push(format!("{name}: `{said}` is gone, and {number} and \"{word}\" are not reserved")),
            }
        }
        let kept = |(from, to): &(i32, i32)| (*from..=*to).all(|number| after.is_reserved(number));
        if !before.reserved.iter().all(kept) {
            broken.push(format!("{name}: a number that was reserved is not any more"));
        }
    }
    broken
}

fn parse(schema: &str) -> FileDescriptorSet {
    let file = format!("syntax = \"proto3\";\npackage t;\n{schema}");
    let parsed = protox_parse::parse("t.proto", &file).unwrap_or_else(|error| panic!("{error}"));
    FileDescriptorSet { file: vec![parsed] }
}

#[test]
fn the_event_abi_keeps_to_its_baseline() {
    let broken = broken(&schemas("compat/baseline"), &schemas("schemas"));
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn what_would_read_old_bytes_as_something_else_is_told() {
    let old = "message A { uint32 a = 1; string b = 2; reserved 9; } enum E { E_NONE = 0; E_ONE = 1; }";
    let check = |new: &str, expect: &[&str]| {
        let found = broken(&parse(old), &parse(new));
        assert_eq!(found.len(), expect.len(), "{found:?}");
        assert!(found.iter().zip(expect).all(|(found, part)| found.contains(part)), "{found:?}");
    };
    let e = "enum E { E_NONE = 0; E_ONE = 1; }";
    check(old, &[]);
    check(&format!("message A {{ uint32 a = 1; string b = 2; bool c = 3; reserved 9; }} {e}"), &[]);
    check(&format!("message A {{ uint32 a = 1; reserved 2, 9; reserved \"b\"; }} {e}"), &[]);
    check(&format!("message A {{ uint32 a = 1; reserved 9; }} {e}"), &["`b = "]);
    check(&format!("message A {{ uint64 a = 1; string b = 2; reserved 9; }} {e}"), &["Uint64"]);
    check(&format!("message A {{ uint32 other = 1; string b = 2; reserved 9; }} {e}"), &["other"]);
    check(&format!("message A {{ optional uint32 a = 1; string b = 2; reserved 9; }} {e}"), &["optional"]);
    check(&format!("message A {{ oneof o {{ uint32 a = 1; }} string b = 2; reserved 9; }} {e}"), &["is `a = "]);
    check(&format!("message A {{ uint32 a = 1; string b = 2; bool c = 9; }} {e}"), &["was reserved"]);
    check("message A { uint32 a = 1; string b = 2; reserved 9; } enum E { E_NONE = 0; E_TWO = 1; }", &["E_TWO"]);
    check(e, &["t.A is gone"]);
}
