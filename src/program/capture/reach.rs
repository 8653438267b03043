//! Which calls can be on the stack while standard input is read.

use std::collections::HashMap;

use wasmparser::Operator;

use super::CaptureError;
use super::parts::{Parts, Signature};
use crate::wasi::MODULE;

/// The calls that read standard input, or wait for it.
pub(crate) const READS: [&str; 2] = ["fd_read", "poll_oneoff"];

/// The functions from which a read can be reached.
pub(super) struct Reach {
    functions: Vec<bool>,
    /// By index of a type, whether a call through a table with that type may lead to one.
    types: Vec<bool>,
}

impl Reach {
    /// Finds them by the calls in all functions. A call through a table may lead to each function
    /// of its type that is referred to anywhere.
    pub(super) fn of(parts: &Parts<'_>) -> Result<Reach, CaptureError> {
        let kinds = kinds(&parts.types);
        let mut graph = Graph::new(parts.functions.len(), parts.types.len());
        let mut referred = parts.referred.clone();
        for (caller, (_, body)) in (parts.imports.len()..).zip(&parts.bodies) {
            for operator in body.get_operators_reader()? {
                match operator? {
                    Operator::Call { function_index } | Operator::ReturnCall { function_index } => {
                        graph.add(caller, function_index as usize);
                    }
                    Operator::CallIndirect { type_index, .. }
                    | Operator::ReturnCallIndirect { type_index, .. } => {
                        graph.add(caller, graph.of_kind(kinds[type_index as usize]));
                    }
                    Operator::RefFunc { function_index } => referred.push(function_index),
                    _ => {}
                }
            }
        }
        referred.sort_unstable();
        referred.dedup();
        for function in referred {
            let kind = kinds[parts.functions[function as usize] as usize];
            graph.add(graph.of_kind(kind), function as usize);
        }
        let reads = parts
            .imports
            .iter()
            .enumerate()
            .filter(|(_, import)| import.module == MODULE && READS.contains(&import.name));
        let reaching = graph.reaching(reads.map(|(function, _)| function).collect());
        let types = kinds.iter().map(|kind| reaching[graph.of_kind(*kind)]).collect();
        let mut functions = reaching;
        functions.truncate(parts.functions.len());
        let mut begins = [parts.entry, parts.start].into_iter().flatten();
        if !begins.any(|function| functions[function as usize]) {
            return Err(CaptureError::NeverReads);
        }
        Ok(Reach { functions, types })
    }

    /// Whether a read can be reached from a function.
    pub(super) fn has(&self, function: u32) -> bool {
        self.functions[function as usize]
    }

    /// Whether this is a call under which a read can happen.
    pub(super) fn calls(&self, operator: &Operator<'_>) -> bool {
        match *operator {
            Operator::Call { function_index } => self.has(function_index),
            Operator::CallIndirect { type_index, .. } => self.types[type_index as usize],
            _ => false,
        }
    }
}

/// By index of a type, the first one that is the same.
fn kinds(types: &[Signature]) -> Vec<usize> {
    let mut first = HashMap::new();
    types.iter().enumerate().map(|(index, ty)| *first.entry(ty).or_insert(index)).collect()
}

/// The calls. After the functions come the types, as what calls through tables lead to.
struct Graph {
    functions: usize,
    /// For each, who calls it.
    callers: Vec<Vec<u32>>,
}

impl Graph {
    fn new(functions: usize, types: usize) -> Graph {
        Graph { functions, callers: vec![Vec::new(); functions + types] }
    }

    fn of_kind(&self, kind: usize) -> usize {
        self.functions + kind
    }

    fn add(&mut self, caller: usize, callee: usize) {
        let caller = u32::try_from(caller).expect("indices of functions are");
        let callers = &mut self.callers[callee];
        // A function's calls of another come one after the other.
        if callers.last() != Some(&caller) {
            callers.push(caller);
        }
    }

    /// All from which one of `ends` is reached, the ends included.
    fn reaching(&self, mut ends: Vec<usize>) -> Vec<bool> {
        let mut reaching = vec![false; self.callers.len()];
        ends.iter().for_each(|end| reaching[*end] = true);
        while let Some(callee) = ends.pop() {
            for caller in &self.callers[callee] {
                let caller = *caller as usize;
                if !std::mem::replace(&mut reaching[caller], true) {
                    ends.push(caller);
                }
            }
        }
        reaching
    }
}
