//! The functions for the exports that were added to a module: see `rewrite`.

use wasmi::{
    Caller, Error, Extern, Func, FuncType, Instance, Memory, Ref, RefType, Store, Table, TrapCode,
    Val, ValType,
};

use super::Shared;
use super::growth::{self, Failed, Paging};
use super::rewrite::Hooks;
use crate::wasi::WasiCtx;

/// Bytes that are added for one unit of fuel: the kernel makes each page when it is zeroed.
const BYTES_PER_FUEL: u64 = 4;

/// Bytes of a page of memory.
const PAGE_BYTES: u64 = 1 << 16;

/// Bytes of an element of a table.
const ELEMENT_BYTES: u64 = 8;

/// What growing costs whatever comes of it.
const CALL_FUEL: u64 = 20;

/// What it costs to make a memory larger by a little: the kernel moves it to another place.
const MOVE_FUEL: u64 = 10_000;

/// What growing instructions answer if they fail.
const FAILED: u32 = u32::MAX;

/// Functions of one program at the most: its start section, and two exports.
const CALLS_MAX: usize = 3;

/// The functions to call to run a guest, one after the other.
#[derive(Clone, Copy)]
pub(crate) struct EntryPoint {
    calls: [Option<Func>; CALLS_MAX],
    /// The last one returns the status with which the program exits.
    has_status: bool,
}

impl EntryPoint {
    /// Of an instance that could not be made.
    pub(crate) const NONE: EntryPoint = EntryPoint { calls: [None; CALLS_MAX], has_status: false };

    /// The entry of an instance.
    pub(crate) fn of(program: &Shared, store: &Store<WasiCtx>, instance: Instance) -> EntryPoint {
        let find =
            |name: &str| instance.get_func(store, name).expect("checked when the program was made");
        let hooks = &program.hooks;
        let first = hooks.starts.then(|| find(&hooks.start()));
        let mut funcs = first.into_iter().chain(program.entry.iter().map(|name| find(name)));
        let calls = std::array::from_fn(|_| funcs.next());
        let last = calls.iter().flatten().next_back();
        let has_status = last.is_some_and(|last| !last.ty(store).results().is_empty());
        EntryPoint { calls, has_status }
    }

    /// Whether all of them were taken.
    pub(crate) fn is_empty(&self) -> bool {
        self.calls[0].is_none()
    }

    /// Takes the next one, with how many results it has.
    pub(crate) fn next(&mut self) -> Option<(Func, usize)> {
        let func = self.calls[0].take()?;
        self.calls.rotate_left(1);
        let is_last = self.calls[0].is_none();
        Some((func, usize::from(is_last && self.has_status)))
    }
}

/// Fills the table of calls of a new instance.
pub(crate) fn install(
    hooks: &Hooks,
    store: &mut Store<WasiCtx>,
    instance: Instance,
    paging: Paging,
) {
    if hooks.grows.is_empty() {
        return;
    }
    let calls = instance.get_table(&*store, &hooks.calls()).expect("it was added");
    for (slot, grow) in (0..).zip(&hooks.grows) {
        let grown = instance.get_export(&*store, &hooks.grown(*grow));
        let func = match grown {
            Some(Extern::Memory(memory)) => memory_grow(store, memory, paging),
            Some(Extern::Table(table)) => table_grow(store, table),
            _ => unreachable!("it was added"),
        };
        calls
            .set(&mut *store, slot, Ref::Func(func.into()))
            .expect("the table has a slot for each");
    }
}

fn memory_grow(store: &mut Store<WasiCtx>, memory: Memory, paging: Paging) -> Func {
    Func::wrap(store, move |mut caller: Caller<'_, WasiCtx>, pages: u32| {
        let grown = growth::grow(&mut caller, memory, u64::from(pages), paging);
        let added = if grown.is_ok() { u64::from(pages) } else { 0 };
        let moved = if added > 0 { MOVE_FUEL } else { 0 };
        charge(&mut caller, moved + added * PAGE_BYTES / BYTES_PER_FUEL);
        match grown {
            Ok(before) => Ok(u32::try_from(before).unwrap_or(FAILED)),
            Err(Failed::Refused) => Ok(FAILED),
            Err(Failed::Halfway) => Err(Error::from(TrapCode::OutOfSystemMemory)),
        }
    })
}

/// Grows a new memory to the size that it is declared with.
pub(crate) fn complete(
    hooks: &Hooks,
    store: &mut Store<WasiCtx>,
    instance: Instance,
    paging: Paging,
) -> Result<(), Error> {
    let Some(withheld) = hooks.withheld else { return Ok(()) };
    let memory = instance.get_memory(&*store, &hooks.withheld()).expect("it was added");
    let grown = growth::grow(&mut *store, memory, withheld.rest, paging);
    grown.map(|_| ()).map_err(|_| match store.data().limits.refused {
        Some(_) => Error::new("it declares more memory than it may have"),
        None => Error::from(TrapCode::OutOfSystemMemory),
    })
}

fn table_grow(store: &mut Store<WasiCtx>, table: Table) -> Func {
    let element = table.ty(&*store).element();
    let params = [element.into(), ValType::I32];
    let ty = FuncType::new(params, [ValType::I32]);
    Func::new(store, ty, move |mut caller, given, answer| {
        let (init, count) = operands(given, element);
        let grown = table.grow(&mut caller, u64::from(count), init);
        let added = if grown.is_ok() { u64::from(count) } else { 0 };
        charge(&mut caller, added * ELEMENT_BYTES / BYTES_PER_FUEL);
        let before = grown.ok().and_then(|before| u32::try_from(before).ok());
        answer[0] = Val::I32(before.unwrap_or(FAILED).cast_signed());
        Ok(())
    })
}

/// What the new elements are, and how many.
fn operands(given: &[Val], element: RefType) -> (Ref, u32) {
    let init = match &given[0] {
        Val::FuncRef(func) => Ref::Func(*func),
        Val::ExternRef(host) => Ref::Extern(*host),
        _ => Ref::default_for_ty(element),
    };
    (init, given[1].i32().unwrap_or(0).cast_unsigned())
}

/// Takes the fuel for growing. The guest owes what its store has too little for.
fn charge(caller: &mut Caller<'_, WasiCtx>, grown: u64) {
    let cost = CALL_FUEL + grown;
    let there = caller.get_fuel().unwrap_or(u64::MAX);
    if let Some(left) = there.checked_sub(cost) {
        let _ = caller.set_fuel(left);
        return;
    }
    let _ = caller.set_fuel(0);
    let cx = caller.data_mut();
    cx.fuel_owed = cx.fuel_owed.saturating_add(cost - there);
}
