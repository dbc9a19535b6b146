//! A driver made of a few instructions: a core module that has the exports of the world and does in each of them what it is told.
//!
//! No kit stands between it and the host, so that it can do what no kit would let it.

use std::path::Path;

use wasm_encoder::{
    BlockType, CodeSection, ConstExpr, DataSection, EntityType, ExportKind, ExportSection, Function,
    FunctionSection, GlobalSection, GlobalType, ImportSection, InstructionSink, MemArg, MemorySection,
    MemoryType, Module, NameMap, NameSection, RefType, StartSection, TableSection, TableType, TypeSection,
    ValType,
};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::{Resolve, WorldId};

use super::debug_info;

const WASI: &str = "wasi:sockets/network@0.2.0";
const GUEST: &str = "autobench:driver/guest@0.1.0";
/// Where answers of imports are put.
pub const ANSWER: i32 = 16;
/// Sixty-four zeros: a result that is ok, and a snapshot of nothing.
const NOTHING: i32 = 128;
/// The byte over which it traps, if nothing else was wrong with it before.
pub const TRIGGER: u8 = 0x07;
/// Where data begins.
const DATA: usize = 1024;
/// Where the host's arguments are put; they are forgotten with the next event.
const HEAP: i32 = 1 << 17;
const PAGE: u64 = 64 << 10;
/// Of the driver's own memory.
const PAGES: u64 = 6;

/// What an export does, or does before its usual work.
pub type Body = Box<dyn Fn(&mut InstructionSink<'_>)>;

/// The imports, in the order of their indices.
#[derive(Debug, Clone, Copy)]
pub enum Import {
    Log,
    Update,
    Push,
    SetTimer,
    OpenPort,
    Publish,
    Phase,
    Monotonic,
    Wall,
}

impl Import {
    const ALL: [Self; 9] = [
        Self::Log,
        Self::Update,
        Self::Push,
        Self::SetTimer,
        Self::OpenPort,
        Self::Publish,
        Self::Phase,
        Self::Monotonic,
        Self::Wall,
    ];

    /// Its number as a function.
    pub fn index(self) -> u32 {
        self as u32
    }

    fn name(self) -> (&'static str, &'static str) {
        match self {
            Self::Log => ("log", "write"),
            Self::Update => ("state", "update-slice"),
            Self::Push => ("telemetry", "push"),
            Self::SetTimer => ("timer", "set"),
            Self::OpenPort => ("serial", "open"),
            Self::Publish => ("events", "publish"),
            Self::Phase => ("status", "phase"),
            Self::Monotonic => ("clock", "monotonic-ns"),
            Self::Wall => ("clock", "wall-ms"),
        }
    }

    fn signature(self) -> (Vec<ValType>, Vec<ValType>) {
        let words = |count| vec![ValType::I32; count];
        match self {
            Self::Log => (words(5), vec![]),
            Self::Update | Self::Push | Self::SetTimer | Self::OpenPort => (words(3), vec![]),
            Self::Publish => (words(8), vec![]),
            Self::Phase => (words(2), vec![]),
            Self::Monotonic => (vec![], vec![ValType::I64]),
            Self::Wall => (vec![], vec![ValType::F64]),
        }
    }
}

/// What it says of itself.
#[derive(Debug, Clone)]
pub struct Manifest {
    pub name: Vec<u8>,
    pub version: String,
    pub description: String,
    pub series: Vec<String>,
    /// Names, and schemas of their arguments.
    pub commands: Vec<(String, String)>,
    pub memory_bytes: Option<u64>,
    pub settings_schema: Option<String>,
    pub slice_schema: Option<String>,
}

/// A driver, before it is made.
pub struct Guest {
    pub manifest: Manifest,
    pub describe: Option<Body>,
    pub start: Option<Body>,
    /// Comes when bytes do, or, where it has no port, a millisecond after the start.
    pub handle: Option<Body>,
    pub snapshot: Option<Body>,
    pub stop: Option<Body>,
    /// Comes when it is instantiated.
    pub instantiate: Option<Body>,
    pub memories: usize,
    /// Tables, and how many elements each begins with.
    pub tables: (usize, u64),
    pub pages: u64,
    /// Functions that nobody calls.
    pub filler: Vec<Function>,
    /// The file and line that all of its code is from, if its build kept them.
    pub line: Option<(&'static str, u32)>,
    /// Whether it asks for an interface of WASI, too.
    pub wants_wasi: bool,
    /// Where its version stands, if it changes it itself.
    pub version_at: Option<Text>,
    data: Vec<u8>,
}

/// Text in the driver's memory.
#[derive(Debug, Clone, Copy)]
pub struct Text {
    pub at: i32,
    pub len: i32,
}

impl Guest {
    /// One that does nothing wrong, by default.
    pub fn new(name: &str) -> Self {
        Self {
            manifest: Manifest {
                name: name.into(),
                version: "6.6.6".to_owned(),
                description: "Means no good.".to_owned(),
                series: Vec::new(),
                commands: Vec::new(),
                memory_bytes: None,
                settings_schema: None,
                slice_schema: None,
            },
            describe: None,
            start: None,
            handle: None,
            snapshot: None,
            stop: None,
            instantiate: None,
            memories: 1,
            tables: (1, 1),
            pages: PAGES,
            filler: Vec::new(),
            line: None,
            wants_wasi: false,
            version_at: None,
            data: Vec::new(),
        }
    }

    /// Puts bytes into its memory.
    pub fn bytes(&mut self, bytes: &[u8]) -> Text {
        while !self.data.len().is_multiple_of(8) {
            self.data.push(0);
        }
        let at = i32::try_from(DATA + self.data.len()).unwrap();
        self.data.extend_from_slice(bytes);
        assert!(
            DATA + self.data.len() < usize::try_from(HEAP).unwrap(),
            "too much data"
        );
        Text {
            at,
            len: i32::try_from(bytes.len()).unwrap(),
        }
    }

    /// Puts a text into its memory.
    pub fn text(&mut self, text: &str) -> Text {
        self.bytes(text.as_bytes())
    }

    /// Listens on a port of the network.
    pub fn listen(sink: &mut InstructionSink<'_>) {
        sink.i32_const(8080).call(Import::ALL.len() as u32).drop();
    }

    /// Calls a function that calls itself for ever.
    pub fn recurse(sink: &mut InstructionSink<'_>) {
        sink.i32_const(0).call(Import::ALL.len() as u32).drop();
    }

    /// The core module, as a build of a driver leaves it.
    pub fn module(mut self) -> Vec<u8> {
        let manifest = self.lay_out_manifest();
        let mut types = TypeSection::new();
        let mut imports = ImportSection::new();
        for import in Import::ALL {
            let (parameters, results) = import.signature();
            let (interface, function) = import.name();
            imports.import(
                &format!("autobench:driver/{interface}@0.1.0"),
                function,
                EntityType::Function(types.len()),
            );
            types.ty().function(parameters, results);
        }
        if self.wants_wasi {
            imports.import(WASI, "listen", EntityType::Function(types.len()));
            types.ty().function([ValType::I32], [ValType::I32]);
        }
        let filler_type = types.len();
        types.ty().function([ValType::I32], [ValType::I32]);
        let imported = imports.len();
        let mut functions = FunctionSection::new();
        let mut exports = ExportSection::new();
        let mut code = CodeSection::new();
        let mut add = |name: Option<String>,
                       parameters: Vec<ValType>,
                       results: Vec<ValType>,
                       body: &dyn Fn(&mut InstructionSink<'_>)| {
            let index = imported + functions.len();
            functions.function(types.len());
            types.ty().function(parameters, results);
            let mut function = Function::new([]);
            let mut sink = function.instructions();
            body(&mut sink);
            sink.end();
            code.function(&function);
            if let Some(name) = name {
                exports.export(&name, ExportKind::Func, index);
            }
            index
        };
        let export = |name: &str| Some(format!("{GUEST}#{name}"));
        let before = |body: &Option<Body>, sink: &mut InstructionSink<'_>| {
            if let Some(body) = body {
                body(sink);
            }
        };
        let (word, long) = (ValType::I32, ValType::I64);

        add(None, vec![word], vec![word], &|sink| {
            // The addition behind the call keeps it from being a jump.
            sink.local_get(0).i32_const(1).i32_add();
            sink.call(imported).local_get(0).i32_add();
        });
        add(
            Some("cabi_realloc".to_owned()),
            vec![word; 4],
            vec![word],
            &|sink| {
                sink.global_get(0);
                sink.global_get(0).local_get(3).i32_add();
                sink.i32_const(7).i32_add().i32_const(-8).i32_and().global_set(0);
            },
        );
        add(export("describe"), vec![], vec![word], &|sink| {
            before(&self.describe, sink);
            sink.i32_const(manifest);
        });
        add(export("start"), vec![word], vec![word], &|sink| {
            before(&self.start, sink);
            // Without a port nothing would ever come.
            sink.local_get(0).i32_load(at(24)).i32_eqz();
            sink.if_(BlockType::Empty);
            sink.i32_const(1)
                .i32_const(1)
                .i32_const(ANSWER)
                .call(Import::SetTimer.index());
            sink.end().i32_const(NOTHING);
        });
        let event = [
            word, word, word, long, long, long, word, word, word, word, long, word, word, word, word,
        ];
        let handle = add(export("handle"), event.to_vec(), vec![], &|sink| {
            sink.i32_const(HEAP).global_set(0);
            // Bytes, or a timer.
            sink.local_get(0)
                .i32_eqz()
                .local_get(0)
                .i32_const(7)
                .i32_eq()
                .i32_or();
            sink.if_(BlockType::Empty);
            before(&self.handle, sink);
            sink.local_get(0).i32_eqz();
            sink.if_(BlockType::Empty);
            sink.local_get(6)
                .i32_load8_u(at(0))
                .i32_const(TRIGGER.into())
                .i32_eq();
            sink.if_(BlockType::Empty).unreachable().end();
            sink.end().end();
        });
        add(export("snapshot"), vec![], vec![word], &|sink| {
            before(&self.snapshot, sink);
            sink.i32_const(NOTHING);
        });
        add(export("stop"), vec![word], vec![], &|sink| {
            before(&self.stop, sink)
        });
        let start = add(None, vec![], vec![], &|sink| before(&self.instantiate, sink));
        for function in &self.filler {
            functions.function(filler_type);
            code.function(function);
        }

        let mut memories = MemorySection::new();
        for number in 0..self.memories {
            memories.memory(MemoryType {
                minimum: if number == 0 { self.pages } else { 1 },
                maximum: None,
                memory64: false,
                shared: false,
                page_size_log2: None,
            });
        }
        exports.export("memory", ExportKind::Memory, 0);
        let mut tables = TableSection::new();
        for _ in 0..self.tables.0 {
            tables.table(TableType {
                element_type: RefType::FUNCREF,
                table64: false,
                minimum: self.tables.1,
                maximum: None,
                shared: false,
            });
        }
        let mut globals = GlobalSection::new();
        globals.global(
            GlobalType {
                val_type: ValType::I32,
                mutable: true,
                shared: false,
            },
            &ConstExpr::i32_const(HEAP),
        );
        let mut data = DataSection::new();
        data.active(0, &ConstExpr::i32_const(DATA as i32), self.data.iter().copied());

        let mut module = Module::new();
        module
            .section(&types)
            .section(&imports)
            .section(&functions)
            .section(&tables);
        module.section(&memories).section(&globals).section(&exports);
        module.section(&StartSection {
            function_index: start,
        });
        module.section(&code).section(&data);
        let mut functions = NameMap::new();
        functions.append(handle, "mischief");
        let mut names = NameSection::new();
        names.functions(&functions);
        module.section(&names);
        if let Some((file, line)) = self.line {
            debug_info::add(&mut module, file, line, u32::try_from(code.byte_len()).unwrap());
        }
        let mut bytes = module.finish();
        let (resolve, world) = world(self.wants_wasi);
        embed_component_metadata(&mut bytes, &resolve, world, StringEncoding::UTF8, false).unwrap();
        bytes
    }

    fn lay_out_manifest(&mut self) -> i32 {
        let manifest = self.manifest.clone();
        let mut record = Vec::new();
        let list = |guest: &mut Self, items: Vec<Vec<u8>>| {
            let count = i32::try_from(items.len()).unwrap();
            let placed = guest.bytes(&items.concat());
            words(&[placed.at, count])
        };
        record.extend(self.placed(&manifest.name));
        record.extend(match self.version_at {
            Some(text) => words(&[text.at, text.len]),
            None => self.placed(manifest.version.as_bytes()),
        });
        for text in [manifest.description.as_str(), "hostile", "hostile"] {
            record.extend(self.placed(text.as_bytes()));
        }
        // A port `main`, 115200 8N1, not required.
        let mut port = self.placed(b"main");
        port.extend(self.placed(b"Whatever comes."));
        port.extend(words(&[115_200]));
        port.extend([3, 0, 0, 0]);
        port.extend(words(&[0, 0]));
        port.extend([0; 4]);
        port.extend(words(&[0, 0]));
        record.extend(list(self, vec![port]));
        let series = manifest.series.iter().map(|name| {
            let mut series = self.placed(name.as_bytes());
            series.extend(self.placed(b"1"));
            series.extend([0; 4]);
            series.extend(words(&[0, 0, 0, 0]));
            series
        });
        let series = series.collect();
        record.extend(list(self, series));
        let commands = manifest.commands.iter().map(|(name, schema)| {
            let mut command = self.placed(name.as_bytes());
            command.extend(words(&[0, 0]));
            command.extend(self.placed(schema.as_bytes()));
            command.extend([0; 4]);
            command.extend(words(&[0, 0]));
            command
        });
        let commands = commands.collect();
        record.extend(list(self, commands));
        record.extend(words(&[0, 0]));
        let limits = manifest.memory_bytes.iter().map(|bytes| {
            // The number stands where eight bytes are at home.
            let mut limit = vec![0; 8];
            limit.extend(bytes.to_le_bytes());
            limit.extend([0; 8]);
            limit
        });
        record.extend(list(self, limits.collect()));
        for schema in [&manifest.settings_schema, &manifest.slice_schema, &None] {
            record.extend(words(&[i32::from(schema.is_some())]));
            record.extend(self.placed(schema.as_deref().unwrap_or_default().as_bytes()));
        }
        record.extend(words(&[1, 0, 0]));
        self.bytes(&record).at
    }

    fn placed(&mut self, bytes: &[u8]) -> Vec<u8> {
        let text = self.bytes(bytes);
        words(&[text.at, text.len])
    }
}

/// A component made of a core module.
pub fn component(module: &[u8]) -> Vec<u8> {
    ComponentEncoder::default()
        .module(module)
        .and_then(|encoder| encoder.encode())
        .unwrap()
}

/// An address in the first memory.
pub fn at(offset: u64) -> MemArg {
    MemArg {
        offset,
        align: 0,
        target: wasm_encoder::MemArgTarget::Memory(0),
        ordering: None,
    }
}

/// Bytes in so many pages.
pub fn pages(bytes: u64) -> u64 {
    bytes.div_ceil(PAGE)
}

fn world(wants_wasi: bool) -> (Resolve, WorldId) {
    let mut resolve = Resolve::default();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit");
    let (package, _) = resolve.push_dir(folder).unwrap();
    if !wants_wasi {
        let world = resolve.select_world(&[package], Some("driver")).unwrap();
        return (resolve, world);
    }
    let wasi = "package wasi:sockets@0.2.0; interface network { listen: func(port: u32) -> u32; }";
    resolve.push_str("wasi.wit", wasi).unwrap();
    let both = "package hostile:driver; world driver { include autobench:driver/driver@0.1.0; import wasi:sockets/network@0.2.0; }";
    let package = resolve.push_str("both.wit", both).unwrap();
    let world = resolve.select_world(&[package], Some("driver")).unwrap();
    (resolve, world)
}

fn words(words: &[i32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}
